"""What a deployment takes where the user gave no model, no detector or no pictures: the built-in ones."""

from __future__ import annotations

from dataclasses import replace

from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME
from edgepose.host.deploy.plan import DeployRequest
from edgepose.spec.packaged_data import packaged_folder
from edgepose.trust.builtin_models import BuiltinModels

_FIGURES = ("calibration_data", "figures")


def with_builtin_models(request: DeployRequest, builtin: BuiltinModels) -> DeployRequest:
    """Completes a request that names no model.

    Where the profile runs TFLite in int8, that is the file that was fine-tuned with int8 rounding; elsewhere
    the float model is converted and quantized as any other. Pictures that nobody gave are the drawn figures
    that travel with edgepose: they set ranges where any are to be set, and else their labels judge the
    fine-tuned file against its float parent, by accuracy, as its weights have moved on.

    Args:
        request: What the user asked for; its model is replaced.
        builtin: The built-in models.

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
