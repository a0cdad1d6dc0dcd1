"""Static int8: one given recipe carried out, or the best one searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.data.calibration_set import CalibrationSet
from edgepose.host.quantize.device_ranges import read_ranges
from edgepose.host.quantize.repair.float_model import FloatModel, OnnxFloat, TfliteFloat
from edgepose.host.quantize.repair.judge import Judge
from edgepose.host.quantize.repair.search import Limits, search_recipe
from edgepose.host.quantize.repair.workshop import Workshop
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.host.quantize.request import QuantizationRequest
from edgepose.host.sources.artifact import ModelArtifact
from edgepose.inference.activation_statistics import ChannelStatistics
from edgepose.inference.backend import Backend
from edgepose.spec.quantization_report import RepairStep
from edgepose.spec.recipe import QuantizationRecipe


@dataclass(frozen=True, eq=False)
class StaticResult:
    """What came out.

    Attributes:
        data: The int8 file, without metadata.
        recipe: The recipe that gives it.
        steps: What was tried; empty where the recipe was given.
        workshop: The model with its statistics, for a diagnosis.
    """

    data: bytes
    recipe: QuantizationRecipe
    steps: tuple[RepairStep, ...]
    workshop: Workshop


def quantize_static(
    request: QuantizationRequest, parent: ModelArtifact, backend: Backend, crops: CalibrationSet | None
) -> StaticResult:
    """Quantizes a float model by a static recipe, or searches one where the request says so.

    Args:
        request: What to do.
        parent: The float model in the device's format.
        backend: The same, loaded.
        crops: Calibration crops, or None where only a device's ranges are at hand.

    Raises:
        ConfigError: The recipe does not fit the model or the data.
        MissingDependencyError: A quantizer is not installed.
        ModelError: The quantizer cannot handle the model.
    """
    model = _float_model(parent)
    sent = None if request.ranges is None else _sent_statistics(request.ranges, parent.path, model)
    samples = crops.samples if crops is not None and sent is None else ()
    inputs = RepresentativeInputs(parent.spec.input, backend.input, samples)
    workshop = Workshop(model, parent.spec.input, inputs, sent, request.progress)
    if not request.repair:
        recipe = workshop.complete(request.recipe)
        return StaticResult(workshop.quantized(recipe), recipe, (), workshop)
    if crops is None:
        raise ConfigError(
            "A repair is chosen by pictures that set no range, and no data folder is given.",
            "Add --calibration DIR, or name a --recipe.",
        )
    judge = Judge(backend, parent.spec, crops.selection)
    request.say(f"Searching a recipe on {judge.crops} crops that set no range:")
    found = search_recipe(workshop, judge, request.recipe, Limits(request.integer_only), request.say)
    return StaticResult(workshop.quantized(found.recipe), found.recipe, found.steps, workshop)


def _float_model(parent: ModelArtifact) -> FloatModel:
    if parent.format == "tflite":
        return TfliteFloat.of_file(parent.path)
    from edgepose.host.quantize.onnx_quantizer import require_onnx_tools

    require_onnx_tools()
    return OnnxFloat.of_file(parent.path)


def _sent_statistics(path: Path, model: Path, prepared: FloatModel) -> Mapping[str, ChannelStatistics]:
    """A device's statistics of the file's tensors; what preparation added has none, and is refused."""
    statistics = read_ranges(path, model)
    network = prepared.network
    missing = [name for name in network.shapes if name not in statistics and _is_real(network.shapes[name])]
    if missing:
        raise ConfigError(
            f"{path} has no ranges of {len(missing)} tensors that preparing the model adds, such as "
            f"'{missing[0]}'.",
            "Calibrate with pictures: --calibration DIR.",
        )
    return statistics


def _is_real(shape: tuple[int, ...]) -> bool:
    return int(np.prod(shape)) > 0
