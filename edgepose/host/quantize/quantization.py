"""Quantizes a model: convert if needed, calibrate, quantize, audit, compare, write.

Nothing is written under the wanted name before every check has passed.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose import __version__
from edgepose.errors import ConfigError, ModelError
from edgepose.host.bundle.golden import golden_for_child
from edgepose.host.data.calibration_set import CalibrationSet, calibration_crops
from edgepose.host.data.data_folder import DataFolder, open_data_folder
from edgepose.host.evaluate.agreement import AgreementReport
from edgepose.host.quantize.audit import audit_model, refuse_silent_float
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.host.quantize.request import QuantizationRequest, QuantizationResult
from edgepose.host.quantize.tensor_errors import measure_tensor_errors
from edgepose.host.quantize.verification import (
    agreement_with_parent,
    neutral_input,
    refuse_non_finite,
    same_interface,
)
from edgepose.host.sources.artifact import ModelArtifact, open_artifact
from edgepose.host.sources.inspect import inspect_model
from edgepose.host.sources.metadata import write_metadata
from edgepose.inference.backend import Backend
from edgepose.inference.open_model import open_backend
from edgepose.spec.lineage import (
    LINEAGE_METADATA_KEY,
    CalibrationRecord,
    Lineage,
    ParentModel,
    lineage_to_json,
)
from edgepose.spec.model_spec import SPEC_METADATA_KEY, spec_to_json
from edgepose.spec.quantization_report import CalibrationReport, QuantizationReport, TensorError
from edgepose.spec.recipe import QuantizationRecipe

_PRECISION = {"static": "int8", "dynamic": "int8", "cast": "float16"}
_TOOLS = {
    "tflite": ("ai-edge-quantizer", "ai-edge-litert"),
    "onnx": ("onnxruntime", "onnx"),
}
_CHECKED_INPUTS = 2


@dataclass(frozen=True)
class _Data:
    """The opened folder and what was drawn from it."""

    folder: DataFolder
    crops: CalibrationSet


@dataclass(frozen=True)
class _Comparison:
    """The quantized file against its parent."""

    agreement: AgreementReport | None
    tensor_errors: tuple[TensorError, ...]


def quantize_model(request: QuantizationRequest) -> QuantizationResult:
    """Quantizes a model and writes it with its spec and its history inside.

    The same request gives the same bytes.

    Raises:
        ConfigError: The request, the data folder or the recipe cannot be used.
        MissingDependencyError: A quantizer is not installed.
        ModelError: The source is damaged, not float or gives NaN; or the result keeps float ops that the
            recipe does not exclude, does not load, or gives values that are not finite.
    """
    started_ns = time.monotonic_ns()
    _check_request(request)
    data = _open_data(request)
    with _folder_beside(request.output) as folder:
        parent = _in_target_format(request, folder)
        draft = folder / request.output.name
        parent_backend = open_backend(parent.path)
        draft.write_bytes(_quantized_bytes(request, parent, parent_backend, data))
        comparison = _verify(request, parent, parent_backend, draft, data)
        write_metadata(draft, _metadata(request, parent, data, comparison))
        model = inspect_model(draft)
        _publish(draft, request.output)
    report = QuantizationReport(
        model=model,
        recipe=request.recipe,
        calibration=None if data is None else _calibration_report(request, data),
        tensor_errors=comparison.tensor_errors,
        agreement_oks=_mean_oks(comparison),
        agreement_crops=comparison.agreement.poses if comparison.agreement else 0,
        seconds=(time.monotonic_ns() - started_ns) / 1e9,
    )
    return QuantizationResult(open_artifact(request.output), report)


def _check_request(request: QuantizationRequest) -> None:
    source, recipe = request.source, request.recipe
    if source.precision not in {"float32", "float16"}:
        raise ModelError(
            f"{source.path.name} is {source.precision} already; quantization starts from a float model.",
            "Give the float model that it was made from.",
        )
    if recipe.kind == "static" and request.calibration is None:
        raise ConfigError(
            f"Recipe '{recipe.name}' sets ranges from images, and no data folder is given.",
            "Add --calibration DIR with pictures of the place where the device will work.",
        )
    output = request.output
    if output.is_dir() or not output.parent.is_dir():
        raise ConfigError(f"Cannot write {output}: it is a folder, or its folder does not exist.")
    if output.exists() and output.samefile(source.path):
        raise ConfigError(f"{output} is the float model itself; it is kept.", "Give -o another name.")


def _open_data(request: QuantizationRequest) -> _Data | None:
    if request.calibration is None:
        return None
    folder = open_data_folder(request.calibration)
    crops = calibration_crops(
        folder,
        request.recipe.sample_count,
        request.seed,
        request.detector,
        whole_images=not request.source.spec.uses_person_boxes,
    )
    if request.recipe.kind == "static" and crops.distinct_images < request.min_calibration_images:
        raise ConfigError(
            f"{folder.path} gives {crops.distinct_images} different usable pictures "
            f"(boxes from {crops.boxes_from}), expected at least {request.min_calibration_images}.",
            "Add pictures of the place where the device will work.",
        )
    return _Data(folder, crops)


@contextlib.contextmanager
def _folder_beside(output: Path) -> Iterator[Path]:
    """A folder on the same disk as the output, so that the last step is a rename."""
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as folder:
        yield Path(folder)


def _in_target_format(request: QuantizationRequest, folder: Path) -> ModelArtifact:
    if request.source.format == request.target and not _has_open_size(request.source):
        return request.source
    from edgepose.host.convert.conversion import ConversionRequest, convert_model

    (folder / "parent").mkdir()
    converted = folder / "parent" / f"{request.source.path.stem}.{request.target}"
    return convert_model(ConversionRequest(request.source, request.target, converted, request.say)).artifact


def _has_open_size(source: ModelArtifact) -> bool:
    """Whether a size (the batch) is left open, which conversion fixes."""
    if source.format != "onnx":
        return False
    return any(size < 1 for tensor in inspect_model(source.path).inputs for size in tensor.shape)


def _quantized_bytes(
    request: QuantizationRequest, parent: ModelArtifact, backend: Backend, data: _Data | None
) -> bytes:
    samples = () if data is None else data.crops.samples
    inputs = RepresentativeInputs(parent.spec.input, backend.input, samples)
    probes = inputs.first(_CHECKED_INPUTS) or [neutral_input(parent.spec, backend)]
    refuse_non_finite(backend, probes, f"The float model {parent.path.name}")
    if request.recipe.kind == "none" or (request.recipe.kind == "cast" and parent.precision == "float16"):
        return parent.path.read_bytes()
    if request.target == "tflite":
        from edgepose.host.quantize.tflite_quantizer import quantize_tflite

        return quantize_tflite(parent.path.read_bytes(), request.recipe, inputs, request.progress)
    from edgepose.host.quantize.onnx_quantizer import quantize_onnx

    return quantize_onnx(parent.path, request.recipe, inputs, request.progress)


def _verify(
    request: QuantizationRequest,
    parent: ModelArtifact,
    parent_backend: Backend,
    draft: Path,
    data: _Data | None,
) -> _Comparison:
    refuse_silent_float(audit_model(draft), request.recipe, integer_only=request.integer_only)
    backend = open_backend(draft)
    same_interface(parent_backend, backend, request.output)
    held_out = () if data is None else data.crops.held_out
    probes = RepresentativeInputs(parent.spec.input, backend.input, held_out).first(_CHECKED_INPUTS)
    refuse_non_finite(backend, probes or [neutral_input(parent.spec, backend)], "The quantized model")
    if not held_out:
        return _Comparison(None, ())
    errors: tuple[TensorError, ...] = ()
    if request.compared_crops:
        inputs = RepresentativeInputs(parent.spec.input, parent_backend.input, held_out)
        errors = measure_tensor_errors(parent.path, draft, inputs, backend, request.compared_crops)
    agreement = agreement_with_parent(parent_backend, backend, parent.spec, held_out)
    return _Comparison(agreement, errors)


def _metadata(
    request: QuantizationRequest, parent: ModelArtifact, data: _Data | None, comparison: _Comparison
) -> dict[str, str]:
    before = parent.lineage
    step = ParentModel(
        file_name=parent.path.name, sha256=parent.sha256, step=f"quantize {request.recipe.name}"
    )
    versions = {name: importlib.metadata.version(name) for name in _TOOLS[request.target]}
    lineage = Lineage(
        parents=(*(before.parents if before else ()), step),
        tools={**(before.tools if before else {}), **versions, "edgepose": __version__},
        precision=_PRECISION.get(request.recipe.kind, parent.precision),
        recipe=request.recipe,
        calibration=_calibration_record(request.recipe, data),
        agreement_oks=_mean_oks(comparison),
        golden=golden_for_child(parent.path, parent.spec, before),
    )
    return {SPEC_METADATA_KEY: spec_to_json(parent.spec), LINEAGE_METADATA_KEY: lineage_to_json(lineage)}


def _calibration_record(recipe: QuantizationRecipe, data: _Data | None) -> CalibrationRecord | None:
    """Only a static recipe takes anything from the data."""
    return data.crops.record if data is not None and recipe.kind == "static" else None


def _mean_oks(comparison: _Comparison) -> float | None:
    agreement = comparison.agreement
    return None if agreement is None or agreement.mean_oks is None else round(agreement.mean_oks, 6)


def _calibration_report(request: QuantizationRequest, data: _Data) -> CalibrationReport:
    record = data.crops.record
    return CalibrationReport(
        digest=record.digest,
        images=record.images,
        crops=record.crops,
        held_out_crops=len(data.crops.held_out),
        boxes_from=record.boxes_from,
        seed=request.seed,
        audit=data.folder.counts,
    )


def _publish(draft: Path, output: Path) -> None:
    with draft.open("rb+") as stream:
        os.fsync(stream.fileno())
    draft.replace(output)
