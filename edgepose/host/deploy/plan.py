"""Decides what a deployment has to do; touches nothing.

What a deployment takes where the user gave no model, no detector or no pictures: the built-in ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from edgepose.errors import ConfigError, GateFailedError
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME, DataFolder, open_data_folder
from edgepose.host.keys.ceremony import Sign
from edgepose.host.models.artifact import ModelArtifact
from edgepose.records.deployment_report import InstallOptions
from edgepose.records.device_profile import DeviceProfile, Precision
from edgepose.records.files import packaged_folder
from edgepose.records.lineage import QuantizationRecipe
from edgepose.trust.builtin_models import BuiltinModels

Say = Callable[[str], None]


@dataclass(frozen=True)
class DeployRequest:
    """What the user asked for.

    Attributes:
        float_parent: What a model that is int8 already is judged against; None: it ships unjudged.
        spec_file: Spec of a model that carries none.
        detector_parent: What a detector that is int8 already is held against; None: itself.
        calibration: Data folder that sets the ranges, or None.
        precision: Precision asked for; None takes the profile's first.
        recipe: Recipe asked for; None takes the profile's for the precision.
        sign: Signs the bundle; None leaves it unsigned.
    """

    profile: DeviceProfile
    model: Path
    root: Path
    float_parent: Path | None = None
    spec_file: Path | None = None
    detector: Path | None = None
    detector_parent: Path | None = None
    detector_spec: Path | None = None
    calibration: Path | None = None
    annotations: Path | None = None
    images: Path | None = None
    precision: Precision | None = None
    recipe: QuantizationRecipe | None = None
    install: InstallOptions = field(default_factory=InstallOptions)
    seed: int = 0
    sign: Sign | None = None
    say: Say = field(default=lambda _line: None)

    @cached_property
    def data(self) -> DataFolder | None:
        """The data folder, opened once: ranges, agreement and the drift reference look at the same images.

        Raises:
            ConfigError: The folder cannot be used.
        """
        return None if self.calibration is None else open_data_folder(self.calibration)

    @property
    def has_labels(self) -> bool:
        """Whether accuracy can be measured."""
        return self.annotations is not None and self.images is not None


@dataclass(frozen=True)
class DeployPlan:
    """What will happen.

    Attributes:
        precision: Precision of the model that ships.
        recipe: How it is quantized.
        convert: Whether the source has to change its format or be folded first.
        quantize: Whether the recipe changes anything.
        steps: In words, in order.
        repair: Whether a recipe that keeps the accuracy is searched; a named one is carried out as it is.
    """

    precision: Precision
    recipe: QuantizationRecipe
    convert: bool
    quantize: bool
    steps: tuple[str, ...]
    repair: bool = False


def make_plan(
    request: DeployRequest, source: ModelArtifact, named: dict[str, QuantizationRecipe]
) -> DeployPlan:
    """Chooses precision, recipe and steps.

    Raises:
        ConfigError: The profile does not run this precision, formats do not fit, or int8 lacks data.
        GateFailedError: There is no data at all to judge on.
    """
    precision = _precision(request, source)
    recipe = request.recipe or named[request.profile.quantization.recipes[precision]]
    as_given = source.precision not in {"float32", "float16"}
    quantize = not as_given and recipe.kind != "none"
    target = request.profile.runtime.model_format
    convert = source.format != target or (not as_given and target == "onnx")
    _check_formats(source, target, as_given=as_given)
    if quantize and recipe.kind == "static" and request.calibration is None:
        raise ConfigError(
            f"Recipe {recipe.name} sets its ranges from pictures and no calibration folder was given.",
            "Add --calibration DIR with pictures like those of the place where the device will work.",
        )
    if not request.has_labels and request.calibration is None:
        raise GateFailedError(
            "The gate has no data: expected --annotations with --images, or --calibration, found neither.",
            "Nothing ships that was not judged.",
        )
    steps = _steps(request, recipe, target, (convert, quantize))
    repair = quantize and recipe.kind == "static" and request.recipe is None
    return DeployPlan(precision, recipe, convert, quantize, steps, repair)


def _precision(request: DeployRequest, source: ModelArtifact) -> Precision:
    allowed = request.profile.quantization.precisions
    wanted = request.precision or _of_recipe(request.recipe) or allowed[0]
    if source.precision in {"int8", "mixed"}:
        if request.precision not in {None, "int8"} or request.recipe is not None:
            raise ConfigError(
                f"{source.path.name} is {source.precision} already and ships as it is; found a request for "
                f"{request.recipe.name if request.recipe else request.precision}.",
                "Give its float source to quantize it another way.",
            )
        wanted = "int8"
    if wanted not in allowed:
        raise ConfigError(
            f"Profile '{request.profile.id}' runs {', '.join(allowed)}; {wanted} was asked for.",
            "Choose another --precision or another profile.",
        )
    return wanted


def _of_recipe(recipe: QuantizationRecipe | None) -> Precision | None:
    if recipe is None:
        return None
    kinds: dict[str, Precision] = {"static": "int8", "dynamic": "int8", "cast": "float16", "none": "float32"}
    return kinds[recipe.kind]


def _check_formats(source: ModelArtifact, target: str, *, as_given: bool) -> None:
    if source.format == target:
        return
    if as_given or (source.format == "tflite" and target == "onnx"):
        raise ConfigError(
            f"{source.path.name} is a {source.precision} {source.format} model; this profile runs {target}.",
            "Give the float model in ONNX, or in Keras or SavedModel for a TFLite profile.",
        )


def _steps(
    request: DeployRequest, recipe: QuantizationRecipe, target: str, work: tuple[bool, bool]
) -> tuple[str, ...]:
    convert, quantize = work
    repair = " and what repairs it" if recipe.kind == "static" and request.recipe is None else ""
    judge = (
        "evaluate: paired AP against the float parent"
        if request.has_labels
        else "evaluate: OKS agreement with the float parent on held-out pictures (accuracy not measured)"
    )
    steps = [
        f"convert to {target}, parity of every output" if convert else "",
        f"quantize: {recipe.name}{repair}, audit of ops and types" if quantize else "",
        judge,
        "gate against the profile's budgets",
        "detector: convert, compare its boxes with the float parent's" if request.detector else "",
        "bundle with golden frames, verify",
        f"install into {request.root}: stage, verify, switch, health check, commit or roll back",
    ]
    return tuple(step for step in steps if step)


_FIGURES = ("calibration_data", "figures")


def with_builtin_models(request: DeployRequest, builtin: BuiltinModels) -> DeployRequest:
    """Completes a request that names no model.

    Where the profile runs TFLite in int8, that is the file that was fine-tuned with int8 rounding; elsewhere
    the float model is converted and quantized as any other. Images that no one gave are the drawn figures
    that travel with edgepose: they set ranges where any are to be set, and else their labels judge the
    fine-tuned file against its float parent, by accuracy, as its weights have moved on.

    Raises:
        ConfigError: The installation lacks a built-in model or its figures.
        ModelError: A built-in model was changed.
    """
    float_model = builtin.path_of("pose", "float32")
    ready = _takes_int8_file(request)
    float_detector = builtin.path_of("detector", "float32")
    # A device that computes in integers only cannot run a float detector either.
    whole = request.profile.quantization.integer_only
    detector = request.detector or (builtin.path_of("detector", "int8") if whole else float_detector)
    request.say(
        "no --model: the built-in "
        + (f"{float_model.stem} in int8" if ready else f"{float_model.stem}")
        + ("" if request.detector else f" behind the detector {float_detector.stem}")
        + "; edgepose models card says what they are fit for"
    )
    chosen = replace(
        request,
        model=builtin.path_of("pose", "int8") if ready else float_model,
        float_parent=float_model if ready else None,
        detector=detector,
        detector_parent=None if request.detector or not whole else float_detector,
    )
    return _with_figures(chosen, judged_by_labels=ready)


def _with_figures(request: DeployRequest, *, judged_by_labels: bool) -> DeployRequest:
    figures = packaged_folder(_FIGURES[0]) / _FIGURES[1]
    if request.has_labels or request.calibration is not None:
        return request
    request.say(
        "no pictures given: drawn figures stand in; they are not the place where the device will work"
    )
    if judged_by_labels:
        labels = figures / ANNOTATIONS_FILE_NAME
        return replace(request, annotations=labels, images=figures / "images")
    return replace(request, calibration=figures)


def _takes_int8_file(request: DeployRequest) -> bool:
    profile = request.profile
    wanted = request.precision or profile.quantization.precisions[0]
    return profile.runtime.model_format == "tflite" and wanted == "int8" and request.recipe is None
