"""Static int8: one given recipe carried out, or the best one searched."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.data.calibration_set import CalibrationSet
from edgepose.host.quantize.audit import AuditedOp
from edgepose.host.quantize.device_ranges import read_ranges
from edgepose.host.quantize.diagnosis.diagnosis import (
    MOST_LAYERS,
    MOST_LAYERS_EXPLAINED,
    Diagnosis,
    diagnose,
)
from edgepose.host.quantize.diagnosis.subject import Subject
from edgepose.host.quantize.repair.float_model import FloatModel, OnnxFloat, TfliteFloat
from edgepose.host.quantize.repair.judge import Judge
from edgepose.host.quantize.repair.network import outputs_of
from edgepose.host.quantize.repair.search import (
    AIM,
    UNSUPPORTED,
    Limits,
    recipe_without_pictures,
    search_recipe,
)
from edgepose.host.quantize.repair.workshop import Stage, Workshop
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.host.quantize.request import QuantizationRequest
from edgepose.host.sources.artifact import ModelArtifact
from edgepose.inference.activation_statistics import ChannelStatistics
from edgepose.inference.backend import Backend
from edgepose.spec.model_spec import ModelSpec
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

    def diagnosis(self, spec: ModelSpec, crops: CalibrationSet | None, *, all_layers: bool) -> Diagnosis:
        """Why the model suffers under plain int8.

        Args:
            spec: The model's.
            crops: Those that set no range measure the layers; None: nothing is measured.
            all_layers: Whether every layer is rounded alone, not only the suspects.

        Raises:
            ConfigError: A picture cannot be read.
            ModelError: A model failed.
        """
        plain = _plain(self.recipe)
        stage = self.workshop.stage(plain)
        subject = Subject(
            model=stage.model.data,
            spec=spec,
            statistics=stage.statistics,
            ranges=self.workshop.ranges(plain),
            crops=() if crops is None else crops.selection,
            symmetric=plain.symmetric_activations,
        )
        return diagnose(
            subject,
            float_ops=_left_in_float(stage, self.recipe),
            most_layers=MOST_LAYERS_EXPLAINED if all_layers else MOST_LAYERS,
        )


def _plain(recipe: QuantizationRecipe) -> QuantizationRecipe:
    changes = {"equalize": False, "exact_input": False, "round_weights": False, "range_method": "average"}
    return msgspec.structs.replace(recipe, excluded=(), **changes)


def _left_in_float(stage: Stage, recipe: QuantizationRecipe) -> list[AuditedOp]:
    """The ops that have no int8 form, as the recipe names them."""
    named = {entry.name for entry in recipe.excluded if entry.reason == UNSUPPORTED}
    network = stage.model.network
    return [
        AuditedOp(step.name, name, (name,))
        for step in network.steps
        for name in outputs_of(step)
        if name in named
    ]


def quantize_static(
    request: QuantizationRequest, parent: ModelArtifact, backend: Backend, crops: CalibrationSet | None
) -> StaticResult:
    """Quantizes a float model by a static recipe, or searches one where the request says so.

    A search without pictures has nothing to choose by: it takes the repairs that need ranges alone.

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
        request.say("No pictures to choose a recipe by: taking the repairs that need ranges alone.")
        recipe = recipe_without_pictures(workshop, request.recipe, _limits(request))
        return StaticResult(workshop.quantized(recipe), recipe, (), workshop)
    judge = Judge(backend, parent.spec, crops.selection)
    request.say(f"Searching a recipe on {judge.crops} crops that set no range:")
    found = search_recipe(workshop, judge, request.recipe, _limits(request), request.say)
    return StaticResult(workshop.quantized(found.recipe), found.recipe, found.steps, workshop)


def _limits(request: QuantizationRequest) -> Limits:
    # TensorRT runs float parts in half precision on the same cores, so that they cost little there; and
    # symmetric steps are twice as wide behind a ReLU, so that more of them is needed.
    if request.recipe.symmetric_activations:
        return Limits(request.integer_only, aim_before_float=AIM)
    return Limits(request.integer_only)


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
