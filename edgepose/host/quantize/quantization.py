"""Quantizes a model: convert if needed, calibrate, quantize, audit, compare, write.

Nothing is written under the wanted name before every check has passed.
"""

from __future__ import annotations

import importlib.metadata
import time
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose import __version__
from edgepose.errors import ConfigError, GateFailedError, ModelError
from edgepose.host.data.audit.fitness import refuse_unfit
from edgepose.host.data.calibration_set import CalibrationSet, RepresentativeInputs, calibration_crops
from edgepose.host.data.data_folder import DataFolder, open_data_folder
from edgepose.host.evaluate.agreement import AgreementReport
from edgepose.host.models.artifact import ModelArtifact, open_artifact, with_entries
from edgepose.host.models.audit import audit_model, refuse_silent_float
from edgepose.host.models.golden import golden_for
from edgepose.host.models.inspect import inspect_model
from edgepose.host.quantize.delegates.check import check_delegate
from edgepose.host.quantize.recipe_choice import (
    NO_DIAGNOSIS,
    Diagnosis,
    QuantizationRequest,
    QuantizationResult,
)
from edgepose.host.quantize.static_quantization import (
    StaticResult,
    agreement_with_parent,
    neutral_input,
    quantize_static,
    refuse_non_finite,
    same_interface,
)
from edgepose.host.quantize.tensor_errors import measure_tensor_errors
from edgepose.host.quantize.tflite_quantizer import quantize_tflite
from edgepose.records.files import write_whole
from edgepose.records.lineage import (
    LINEAGE_METADATA_KEY,
    CalibrationRecord,
    Lineage,
    ParentModel,
    QuantizationRecipe,
    lineage_to_json,
)
from edgepose.records.model_spec import SPEC_METADATA_KEY, spec_to_json
from edgepose.records.quantization import CalibrationReport, QuantizationReport, RepairStep, TensorError
from edgepose.runtime.backend import Backend
from edgepose.runtime.model_file import ModelFile
from edgepose.runtime.open_model import open_backend

_PRECISION = {"static": "int8", "dynamic": "int8", "cast": "float16"}
_TOOLS = {"tflite": ("ai-edge-quantizer", "ai-edge-litert"), "onnx": ("onnxruntime", "onnx")}
_CHECKED_INPUTS = 2


@dataclass(frozen=True)
class _Data:
    """The opened folder and what was drawn from it."""

    folder: DataFolder
    crops: CalibrationSet


@dataclass(frozen=True)
class _Made:
    """The quantized bytes, the recipe that gives them, and what was tried before."""

    data: bytes
    recipe: QuantizationRecipe
    steps: tuple[RepairStep, ...] = ()
    static: StaticResult | None = None


def quantize_model(request: QuantizationRequest) -> QuantizationResult:
    """Quantizes a model and writes it with its spec and its history inside.

    The same request gives the same bytes, and so does the recipe that a repair found.

    Raises:
        ConfigError: The request, the data folder or the recipe cannot be used.
        MissingDependencyError: A quantizer is not installed.
        ModelError: The source is damaged, not float or gives NaN; or the result keeps float ops that the
            recipe does not exclude, does not load, or gives values that are not finite.
        GateFailedError: No repair keeps enough of the float model; nothing is written.
    """
    started_ns = time.monotonic_ns()
    _check_request(request)
    data = _open_data(request)
    output = request.output
    # On the same disk as the output, so that the last step is a rename.
    with TemporaryDirectory(prefix=f".{output.name}.", dir=output.parent) as beside:
        folder = Path(beside)
        parent = _in_target_format(request, folder)
        made = _quantized(request, parent, data)
        request = replace(request, recipe=made.recipe)
        draft = ModelFile(folder / output.name, made.data)
        draft.path.write_bytes(made.data)
        backend, comparison = _verify(request, parent, draft, data, made)
        _require_agreement(request, made, comparison, parent, data)
        errors: tuple[TensorError, ...] = ()
        # What was converted on the way is gone with the folder.
        if request.diagnose or parent is not request.source:
            errors = _tensor_errors(request, parent, draft.path, backend, data)
        diagnosis = _diagnosis(request, made, parent, data) if request.diagnose else NO_DIAGNOSIS
        content = with_entries(draft, _metadata(request, parent, data, comparison))
        write_whole(draft.path, [content])
        profile = request.delegate_profile
        delegate = None if profile is None else check_delegate(profile, draft.path)
        write_whole(output, [content])
    artifact = open_artifact(ModelFile(output, content))
    report = QuantizationReport(
        model=inspect_model(artifact),
        recipe=request.recipe,
        calibration=None if data is None else _calibration_report(request, data, made.steps),
        tensor_errors=errors,
        agreement_oks=_mean_oks(comparison),
        agreement_crops=comparison.poses if comparison else 0,
        seconds=(time.monotonic_ns() - started_ns) / 1e9,
        repair=made.steps,
        culprits=diagnosis.culprits,
        layers=diagnosis.layers,
        delegate_check=delegate,
    )
    return QuantizationResult(
        artifact, report, lambda: _tensor_errors(request, parent, artifact.path, artifact.backend, data)
    )


def _diagnosis(
    request: QuantizationRequest, made: _Made, parent: ModelArtifact, data: _Data | None
) -> Diagnosis:
    """Why int8 hurts this model; nothing for a recipe that sets no ranges, or where nothing is compared."""
    if made.static is None or not request.compared_crops:
        return NO_DIAGNOSIS
    request.say("Looking for what plain int8 hurts ...")
    crops = None if data is None else data.crops
    return made.static.diagnosis(parent.spec, crops, all_layers=request.explain)


def _require_agreement(
    request: QuantizationRequest,
    made: _Made,
    agreement: AgreementReport | None,
    parent: ModelArtifact,
    data: _Data | None,
) -> None:
    """A repair that is not enough ships nothing. A recipe that was named is carried out as it is."""
    if not made.steps or agreement is None or agreement.mean_oks is None:
        return
    if agreement.mean_oks >= request.min_agreement_oks:
        return
    from edgepose.host.quantize.diagnosis.diagnosis import culprits_text

    diagnosis = _diagnosis(request, made, parent, data)
    tried = "; ".join(
        f"{step.name} {step.agreement_oks:.3f}" for step in made.steps if step.agreement_oks is not None
    )
    raise GateFailedError(
        f"No repair keeps enough of {request.source.path.name} in int8: OKS {agreement.mean_oks:.4f} with "
        f"the float model on {agreement.poses} held-out poses, expected {request.min_agreement_oks} or more. "
        f"Nothing was written.\n  Tried: {tried}.\n  {culprits_text(diagnosis.culprits)}",
        "Use --precision float16 where the profile runs it, or a model with unlike ranges apart.",
    )


def _check_request(request: QuantizationRequest) -> None:
    source, recipe = request.source, request.recipe
    if source.precision not in {"float32", "float16"}:
        raise ModelError(
            f"{source.path.name} is {source.precision} already; quantization starts from a float model.",
            "Give the float model that it was made from.",
        )
    if recipe.kind == "static" and request.calibration is None and request.ranges is None:
        raise ConfigError(
            f"Recipe '{recipe.name}' sets ranges from images, and no data folder is given.",
            "Add --calibration DIR with pictures of the place where the device will work, or --ranges FILE "
            "from edgepose-device calibrate.",
        )
    output = request.output
    if output.is_dir() or not output.parent.is_dir():
        raise ConfigError(f"Cannot write {output}: it is a folder, or its folder does not exist.")
    if output.exists() and output.samefile(source.path):
        raise ConfigError(f"{output} is the float model itself; it is kept.", "Give -o another name.")


def _open_data(request: QuantizationRequest) -> _Data | None:
    if request.calibration is None:
        return None
    given = request.calibration
    folder = given if isinstance(given, DataFolder) else open_data_folder(given)
    crops = calibration_crops(
        folder,
        request.recipe.sample_count,
        request.seed,
        request.detector,
        whole_images=not request.source.spec.uses_person_boxes,
    )
    if request.recipe.kind == "static":
        refuse_unfit(folder, request.min_calibration_images)
        if crops.distinct_images < request.min_calibration_images:
            raise ConfigError(
                f"{folder.path} gives {crops.distinct_images} different usable pictures "
                f"(boxes from {crops.boxes_from}), expected at least {request.min_calibration_images}.",
                "Add pictures of the place where the device will work.",
            )
    return _Data(folder, crops)


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
    return any(size < 1 for tensor in source.contents.inputs for size in tensor.shape)


def _quantized(request: QuantizationRequest, parent: ModelArtifact, data: _Data | None) -> _Made:
    backend = parent.backend
    samples = () if data is None else data.crops.samples
    inputs = RepresentativeInputs(parent.spec.input, backend.input, samples)
    probes = inputs.first(_CHECKED_INPUTS) or [neutral_input(parent.spec, backend)]
    refuse_non_finite(backend, probes, f"The float model {parent.path.name}")
    recipe = request.recipe
    if recipe.kind == "none" or (recipe.kind == "cast" and parent.precision == "float16"):
        return _Made(bytes(parent.file.data), recipe)
    if recipe.kind == "static":
        found = quantize_static(request, parent, None if data is None else data.crops)
        return _Made(found.data, found.recipe, found.steps, found)
    if request.target == "tflite":
        return _Made(quantize_tflite(bytes(parent.file.data), recipe), recipe)
    from edgepose.host.quantize.onnx_quantizer import quantize_onnx

    return _Made(quantize_onnx(parent.path, recipe), recipe)


def _verify(
    request: QuantizationRequest, parent: ModelArtifact, draft: ModelFile, data: _Data | None, made: _Made
) -> tuple[Backend, AgreementReport | None]:
    """Op audit, interface and values of the quantized file; its agreement where crops are held out."""
    refuse_silent_float(audit_model(made.data), request.recipe, integer_only=request.integer_only)
    backend = made.static.opened if made.static is not None and made.static.opened else open_backend(draft)
    same_interface(parent.backend, backend, request.output)
    held_out = () if data is None else data.crops.held_out
    probes = RepresentativeInputs(parent.spec.input, backend.input, held_out).first(_CHECKED_INPUTS)
    refuse_non_finite(backend, probes or [neutral_input(parent.spec, backend)], "The quantized model")
    if not held_out:
        return backend, None
    return backend, agreement_with_parent(parent.backend, backend, parent.spec, held_out)


def _tensor_errors(
    request: QuantizationRequest, parent: ModelArtifact, quantized: Path, backend: Backend, data: _Data | None
) -> tuple[TensorError, ...]:
    held_out = () if data is None else data.crops.held_out
    if not held_out or not request.compared_crops:
        return ()
    inputs = RepresentativeInputs(parent.spec.input, parent.backend.input, held_out)
    return measure_tensor_errors(parent.path, quantized, inputs, backend, request.compared_crops)


def _metadata(
    request: QuantizationRequest,
    parent: ModelArtifact,
    data: _Data | None,
    comparison: AgreementReport | None,
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
        golden=golden_for(parent),
    )
    return {SPEC_METADATA_KEY: spec_to_json(parent.spec), LINEAGE_METADATA_KEY: lineage_to_json(lineage)}


def _calibration_record(recipe: QuantizationRecipe, data: _Data | None) -> CalibrationRecord | None:
    """Only a static recipe takes anything from the data."""
    return data.crops.record if data is not None and recipe.kind == "static" else None


def _mean_oks(agreement: AgreementReport | None) -> float | None:
    return None if agreement is None or agreement.mean_oks is None else round(agreement.mean_oks, 6)


def _calibration_report(
    request: QuantizationRequest, data: _Data, steps: tuple[RepairStep, ...]
) -> CalibrationReport:
    record = data.crops.record
    return CalibrationReport(
        digest=record.digest,
        images=record.images,
        crops=record.crops,
        held_out_crops=len(data.crops.held_out),
        selection_crops=len(data.crops.selection) if steps else 0,
        boxes_from=record.boxes_from,
        seed=request.seed,
        audit=data.folder.counts,
    )
