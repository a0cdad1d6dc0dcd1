"""Static int8: a given recipe carried out or the best one searched, and what is checked about the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.data.calibration_set import CalibrationSet, CropSample, RepresentativeInputs
from edgepose.host.evaluate.agreement import AgreementReport, mean_agreement_oks
from edgepose.host.models.artifact import ModelArtifact
from edgepose.host.models.audit import AuditedOp
from edgepose.host.quantize.recipe_choice import Diagnosis, QuantizationRequest
from edgepose.host.quantize.repair.apply_recipe import RecipeApplier, Scorer, Stage
from edgepose.host.quantize.repair.float_model import FloatModel, OnnxFloat, TfliteFloat
from edgepose.host.quantize.repair.network import outputs_of
from edgepose.host.quantize.repair.search import (
    AIM,
    UNSUPPORTED,
    Limits,
    recipe_without_images,
    search_recipe,
)
from edgepose.host.quantize.tensor_ranges import read_ranges
from edgepose.records.lineage import QuantizationRecipe
from edgepose.records.model_spec import ModelSpec
from edgepose.records.quantization import RepairStep
from edgepose.runtime.activation_statistics import ChannelStatistics
from edgepose.runtime.backend import Backend, run_once
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.pipeline import PosePipeline
from edgepose.runtime.preprocess import Preprocessor


@dataclass(frozen=True, eq=False)
class StaticResult:
    """What came out: the file without metadata, its recipe, what was tried, the model with its statistics."""

    data: bytes
    recipe: QuantizationRecipe
    steps: tuple[RepairStep, ...]
    applier: RecipeApplier
    # The file on its runtime, where a search scored it.
    opened: Backend | None = None

    def diagnosis(self, spec: ModelSpec, crops: CalibrationSet | None, *, all_layers: bool) -> Diagnosis:
        """Why the model suffers under plain int8; layers are measured on crops that set no range, if any.

        Raises:
            ConfigError: An image cannot be read.
            ModelError: A model failed.
        """
        changes = {"equalize": False, "exact_input": False, "round_weights": False}
        plain = msgspec.structs.replace(self.recipe, excluded=(), range_method="average", **changes)
        stage = self.applier.stage(plain)
        # Entered only where something is to be explained.
        from edgepose.host.quantize.diagnosis.diagnosis import MOST_LAYERS, MOST_LAYERS_EXPLAINED, diagnose
        from edgepose.host.quantize.diagnosis.layers import Subject

        subject = Subject(
            model=stage.model.data,
            spec=spec,
            statistics=stage.statistics,
            ranges=self.applier.ranges(plain),
            crops=() if crops is None else crops.selection,
            symmetric=plain.symmetric_activations,
        )
        return diagnose(
            subject,
            float_ops=_left_in_float(stage, self.recipe),
            most_layers=MOST_LAYERS_EXPLAINED if all_layers else MOST_LAYERS,
        )


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
    request: QuantizationRequest, parent: ModelArtifact, crops: CalibrationSet | None
) -> StaticResult:
    """Quantizes a float model by a static recipe, or searches one where the request says so.

    A search without images, from a device's ranges alone, has nothing to choose by: it takes the repairs that
    need ranges alone.

    Raises:
        ConfigError: The recipe does not fit the model or the data.
        MissingDependencyError: A quantizer is not installed.
        ModelError: The quantizer cannot handle the model.
    """
    model = _float_model(parent)
    sent = None if request.ranges is None else _sent_statistics(request.ranges, parent.path, model)
    samples = crops.samples if crops is not None and sent is None else ()
    inputs = RepresentativeInputs(parent.spec.input, parent.backend.input, samples)
    applier = RecipeApplier(model, parent.spec.input, inputs, sent, request.progress)
    if not request.repair:
        recipe = applier.complete(request.recipe)
        return StaticResult(applier.quantized(recipe), recipe, (), applier)
    if crops is None:
        request.say("No pictures to choose a recipe by: taking the repairs that need ranges alone.")
        recipe = recipe_without_images(applier, request.recipe, _limits(request))
        return StaticResult(applier.quantized(recipe), recipe, (), applier)
    scorer = Scorer(parent.backend, parent.spec, crops.selection)
    request.say(f"Searching a recipe on {scorer.crops} crops that set no range:")
    found = search_recipe(applier, scorer, request.recipe, _limits(request), request.say)
    data = applier.quantized(found.recipe)
    return StaticResult(data, found.recipe, found.steps, applier, scorer.opened(data))


def _limits(request: QuantizationRequest) -> Limits:
    # TensorRT runs float parts in half precision on the same cores, so that they cost little there; and
    # symmetric steps are twice as wide behind a ReLU, so that more of them is needed.
    if request.recipe.symmetric_activations:
        return Limits(request.integer_only, aim_before_float=AIM)
    return Limits(request.integer_only)


def _float_model(parent: ModelArtifact) -> FloatModel:
    if parent.format == "tflite":
        return TfliteFloat.of_file(parent.file)
    from edgepose.host.quantize.onnx_quantizer import require_onnx_tools

    require_onnx_tools()
    return OnnxFloat.of_file(parent.path)


def _sent_statistics(path: Path, model: Path, prepared: FloatModel) -> Mapping[str, ChannelStatistics]:
    """A device's statistics of the file's tensors; what preparation added has none, and is refused."""
    statistics = read_ranges(path, model)
    shapes = prepared.network.shapes
    missing = [name for name, shape in shapes.items() if name not in statistics and np.prod(shape) > 0]
    if missing:
        raise ConfigError(
            f"{path} has no ranges of {len(missing)} tensors that preparing the model adds, such as "
            f"'{missing[0]}'.",
            "Calibrate with pictures: --calibration DIR.",
        )
    return statistics


def refuse_non_finite(backend: Backend, inputs: Iterable[NDArray[Any]], what: str) -> None:
    """Runs a model and looks at every output value.

    Raises:
        ModelError: An output is NaN or infinite, or the runtime fails.
    """
    for values in inputs:
        for info, output in zip(backend.outputs, run_once(backend, values), strict=True):
            bad = int(output.size - np.isfinite(output).sum())
            if bad:
                raise ModelError(
                    f"{what} gives {bad} of {output.size} values as NaN or infinity in output '{info.name}'.",
                    "Check the model that was given, and the spec's mean and std.",
                )


def neutral_input(spec: ModelSpec, backend: Backend) -> NDArray[Any]:
    """The input of a mid-grey image, for models without any data."""
    preprocessor = Preprocessor(spec.input, backend.input)
    image = np.full((spec.input.height_px, spec.input.width_px, 3), 128, np.uint8)
    values = np.zeros(backend.input.shape, backend.input.dtype)
    preprocessor.write(image, preprocessor.transform_for(image, None), values)
    return values


def agreement_with_parent(
    parent: Backend, quantized: Backend, spec: ModelSpec, held_out: Iterable[CropSample]
) -> AgreementReport | None:
    """Compares keypoints on held-out crops; a detector has no keypoints to compare.

    Raises:
        ModelError: A model failed or gives values that are not finite.
    """
    if spec.paradigm == "detector":
        return None
    samples = ((read_image_rgb(crop.image_path), crop.box_xyxy_px) for crop in held_out)
    return mean_agreement_oks(PosePipeline(parent, spec), PosePipeline(quantized, spec), samples)


def same_interface(parent: Backend, quantized: Backend, path: Path) -> None:
    """Checks that inputs and outputs kept their names and shapes.

    Raises:
        ModelError: They did not.
    """
    before = [(info.name, info.shape) for info in parent.outputs]
    after = [(info.name, info.shape) for info in quantized.outputs]
    if parent.input.shape != quantized.input.shape or before != after:
        raise ModelError(
            f"{path.name} has outputs {after} for input {quantized.input.shape}; its float parent has "
            f"{before} for {parent.input.shape}."
        )
