"""The files that ``int8_methods.py`` compares, each made by one function."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import msgspec

from edgepose.host.convert.conversion import ConversionRequest, convert_model, finish_tflite
from edgepose.host.convert.parity import match_outputs, run_on_images
from edgepose.host.convert.routes import by_onnx2tf, fixed_onnx
from edgepose.host.data.calibration_set import CalibrationSet, RepresentativeInputs, calibration_crops
from edgepose.host.data.data_folder import open_data_folder
from edgepose.host.models.artifact import ModelArtifact, open_artifact, write_metadata
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest
from edgepose.host.quantize.static_quantization import agreement_with_parent
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.files import write_whole
from edgepose.records.lineage import RECIPES
from edgepose.records.model_spec import SPEC_METADATA_KEY, spec_to_json
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import open_backend


@dataclass(frozen=True)
class Made:
    """A file and what making it told.

    Attributes:
        path: The file.
        seconds: Time to make it.
        agreement_oks: Mean OKS with the float model on held-out calibration crops.
        recipe: Name of edgepose's recipe.
    """

    path: Path
    seconds: float | None = None
    agreement_oks: float | None = None
    recipe: str | None = None


@dataclass(frozen=True)
class Calibration:
    """A draw of calibration crops."""

    folder: Path
    samples: int
    seed: int

    def crops(self) -> CalibrationSet:
        """The very crops that ``edgepose quantize --seed`` draws."""
        return calibration_crops(open_data_folder(self.folder), self.samples, self.seed)


def convert_directly(source: Path, spec_file: Path, output: Path) -> Made:
    """Float TFLite as ``edgepose convert`` makes it."""
    result = convert_model(ConversionRequest(open_artifact(source, spec_file), "tflite", output))
    return Made(output, result.record.seconds)


def convert_by_onnx2tf(source: Path, spec_file: Path, output: Path) -> Made:
    """Float TFLite by edgepose's second route, taken although the first would do."""
    start_ns = time.monotonic_ns()
    with TemporaryDirectory(dir=output.parent) as folder:
        artifact, draft = open_artifact(source, spec_file), Path(folder) / "draft.tflite"
        fixed = fixed_onnx(artifact, draft)
        route = by_onnx2tf(artifact, fixed, draft, "asked for by the benchmark")
        child = open_backend(draft)
        changed = msgspec.structs.replace(artifact.spec.input, layout=_layout(child.input.shape))
        spec = msgspec.structs.replace(artifact.spec, input=changed)
        parent_outputs = run_on_images(open_backend(fixed), artifact.spec.input)
        matched = match_outputs(parent_outputs, run_on_images(child, spec.input))
        names = {theirs: ours for ours, (theirs, _) in matched.items()}
        write_whole(output, [finish_tflite(draft.read_bytes(), route.input_name, names)])
    write_metadata(output, {SPEC_METADATA_KEY: spec_to_json(spec)})
    return Made(output, _seconds_since(start_ns))


def quantize_by_edgepose(
    source: ModelArtifact, profile: DeviceProfile, data: Calibration, output: Path, *, repair: bool
) -> Made:
    """``edgepose quantize``, with the profile's plain recipe or, to repair, with none."""
    recipe = msgspec.structs.replace(RECIPES[profile.quantization.recipes["int8"]], sample_count=data.samples)
    request = QuantizationRequest.for_profile(profile, source, recipe, output)
    result = quantize_model(
        replace(
            request,
            calibration=data.folder,
            seed=data.seed,
            repair=repair,
            # A plain recipe's time is not to hold a diagnosis that nobody asked for.
            compared_crops=request.compared_crops if repair else 0,
            say=lambda line: print(f"  {line}", flush=True),
        )
    )
    report = result.report
    return Made(output, report.seconds, report.agreement_oks, report.recipe.name)


def quantize_by_onnxruntime(source: Path, spec_file: Path, data: Calibration, output: Path) -> Made:
    """The peer as its documentation has it: prepared, calibrated, quantized per channel."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    spec, parent, crops = load_spec(source, spec_file), open_backend(source), data.crops()
    start_ns = time.monotonic_ns()
    with TemporaryDirectory(dir=output.parent) as folder:
        copy, prepared = Path(folder) / "copy.onnx", Path(folder) / "prepared.onnx"
        shutil.copyfile(source, copy)
        quant_pre_process(copy, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            output,
            _Reader(RepresentativeInputs(spec.input, parent.input, crops.samples)),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            calibrate_method=CalibrationMethod.MinMax,
        )
    seconds = _seconds_since(start_ns)
    agreement = agreement_with_parent(parent, open_backend(output), spec, crops.held_out)
    oks = None if agreement is None or agreement.mean_oks is None else round(agreement.mean_oks, 6)
    return Made(output, seconds, oks)


class _Reader:
    """Calibration inputs as onnxruntime asks for them."""

    def __init__(self, inputs: RepresentativeInputs) -> None:
        self._name, self._values = inputs.tensor_name, iter(inputs)

    def get_next(self) -> dict[str, Any] | None:
        values = next(self._values, None)
        return None if values is None else {self._name: values}


def _layout(shape: Sequence[int]) -> Literal["NCHW", "NHWC"]:
    return "NCHW" if shape[1] == 3 else "NHWC"


def _seconds_since(start_ns: int) -> float:
    return (time.monotonic_ns() - start_ns) / 1e9
