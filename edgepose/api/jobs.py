"""What the commands do, from Python: each returns the record that the command writes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edgepose.api import PathName, model_path, optional_path
from edgepose.errors import ConfigError
from edgepose.records.device_profile import Precision, find_profile
from edgepose.trust.builtin_models import find_builtin_models

if TYPE_CHECKING:
    from edgepose.records.deployment_report import DeploymentReport
    from edgepose.records.evaluation_report import EvaluationReport
    from edgepose.records.quantization import QuantizationReport


def evaluate(
    model: PathName,
    annotations: PathName,
    images: PathName,
    *,
    spec: PathName | None = None,
    baseline: PathName | None = None,
    detector: PathName | None = None,
    detector_spec: PathName | None = None,
    slices: bool = False,
    profile: PathName | None = None,
    threads: int | None = None,
) -> EvaluationReport:
    """Measures accuracy on labelled images, through the very code that ships.

    Args:
        model: Path, or name of a built-in model.
        annotations: Labels in the COCO keypoint format.
        images: Folder of the labelled images.
        spec: Serves model and baseline where they carry none.
        baseline: Compares with this model, usually the float parent, on the same persons.
        detector: Gives the person boxes instead of the labels.
        detector_spec: Spec of a detector that carries none.
        slices: Reports size, keypoints, crowding, brightness and blur apart.
        profile: Judges the loss against this device's budgets: look at `report.gate`.
        threads: CPU threads; the profile's, or 1.

    Returns:
        The record of `edgepose evaluate`: schema `edgepose.evaluation/1`.

    Raises:
        ConfigError: Labels, images or a spec are not usable.
        MissingDependencyError: A runtime is not installed.
        ModelError: A model is damaged or disagrees with its spec.

    Examples:
        >>> labels = figures / "person_keypoints.json"
        >>> report = edgepose.evaluate("edgepose-s_int8", labels, figures / "images")
        >>> sorted(report.metrics)[:2], report.dataset.images
        (['oks_ap', 'oks_ap50'], 64)
    """
    from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model, judge_evaluation

    device = None if profile is None else find_profile(str(profile))
    request = EvaluationRequest(
        model=model_path(model),
        annotations=Path(annotations),
        images=Path(images),
        spec_file=optional_path(spec),
        baseline=None if baseline is None else model_path(baseline),
        detector=None if detector is None else model_path(detector),
        detector_spec=optional_path(detector_spec),
        # The gate judges every slice, whether or not it is asked for.
        slices=slices or device is not None,
        threads=threads or (1 if device is None else device.runtime.threads),
    )
    report = evaluate_model(request)
    return report if device is None else judge_evaluation(request, report, device)


def quantize(
    model: PathName,
    output: PathName,
    *,
    profile: PathName,
    calibration: PathName | None = None,
    spec: PathName | None = None,
    recipe: str | None = None,
    precision: Precision | None = None,
    seed: int = 0,
) -> QuantizationReport:
    """Quantizes a model for a device profile, audits every op and compares with the float model.

    Without a recipe, what int8 breaks is repaired.

    Args:
        model: The float model: path, or name of a built-in one.
        output: The file to write; one that is there is not replaced.
        profile: Device profile: id, alias or `.toml` file.
        calibration: Images that set the ranges.
        spec: Spec of a model that carries none.
        recipe: Carries out exactly this recipe: a name, a file, or a quantized model.
        precision: Takes the profile's recipe for this precision.
        seed: Draw of the crops.

    Returns:
        The record of `edgepose quantize`: schema `edgepose.quantization/1`.

    Raises:
        ConfigError: A setting, a spec or the images are not usable, or the output is there already.
        MissingDependencyError: The extra `convert` is not installed.
        ModelError: The model cannot be quantized.
        GateFailedError: No recipe keeps the accuracy.

    Examples:
        >>> report = edgepose.quantize(
        ...     "edgepose-s", "half.tflite", profile="raspberrypi", precision="float16"
        ... )
        >>> report.model.format, report.model.precision
        ('tflite', 'float16')
    """
    from edgepose.host.models.artifact import open_artifact
    from edgepose.host.quantize.quantization import quantize_model
    from edgepose.host.quantize.recipe_choice import QuantizationRequest, find_recipe, recipe_for
    from edgepose.records.files import refuse_existing

    if recipe is not None and precision is not None:
        raise ConfigError("recipe and precision exclude each other.")
    refuse_existing(Path(output), force=False)
    device = find_profile(str(profile))
    chosen = recipe_for(device, precision) if recipe is None else find_recipe(recipe)
    artifact = open_artifact(model_path(model), optional_path(spec))
    request = QuantizationRequest.for_profile(device, artifact, chosen, Path(output))
    repair = recipe is None and chosen.kind == "static"
    return quantize_model(
        replace(request, calibration=optional_path(calibration), seed=seed, repair=repair)
    ).report


def deploy(
    profile: PathName,
    root: PathName,
    *,
    model: PathName | None = None,
    spec: PathName | None = None,
    detector: PathName | None = None,
    calibration: PathName | None = None,
    annotations: PathName | None = None,
    images: PathName | None = None,
    precision: Precision | None = None,
    dry_run: bool = False,
) -> DeploymentReport:
    """Converts, quantizes, judges, bundles and installs a model into a device root on this machine.

    The gate decides before the root is touched. Devices behind ssh and signed bundles are the command's:
    `edgepose deploy`. A root that has pinned keys refuses what is not signed.

    Args:
        profile: Device profile: id, alias or `.toml` file.
        root: The device root; on a machine that is not the profile's device it is a preview.
        model: The float pose model; the built-in one where none is given.
        spec: Spec of a model that carries none.
        detector: Person detector in front of it.
        calibration: Images that set the ranges.
        annotations: Labels to judge accuracy on, with `images`.
        images: The labelled images.
        precision: The profile's first where none is given.
        dry_run: Returns the plan; changes nothing.

    Returns:
        The record of `edgepose deploy`: schema `edgepose.deployment/1`.

    Raises:
        ConfigError: A setting, a spec or the data are not usable.
        GateFailedError: The model lost too much; the root was not touched.
        MissingDependencyError: The extra `convert` is not installed.
        ModelError: A model is damaged or unsupported.
        TrustError: The root takes only signed bundles.
        DeployError: The installation failed; the version before runs on.

    Examples:
        >>> plan = edgepose.deploy("raspberrypi", "preview", dry_run=True)
        >>> plan.profile, plan.dry_run
        ('raspberrypi5', True)
    """
    from edgepose.cli.install import LocalTarget
    from edgepose.host.deploy.deployment import deploy as deploy_model
    from edgepose.host.deploy.deployment import plan_deployment
    from edgepose.host.deploy.plan import DeployRequest, with_builtin_models

    if (annotations is None) != (images is None):
        raise ConfigError("annotations and images belong together.")
    request = DeployRequest(
        profile=find_profile(str(profile)),
        model=Path() if model is None else model_path(model),
        root=Path(root),
        spec_file=optional_path(spec),
        detector=None if detector is None else model_path(detector),
        calibration=optional_path(calibration),
        annotations=optional_path(annotations),
        images=optional_path(images),
        precision=precision,
    )
    if model is None:
        request = with_builtin_models(request, find_builtin_models())
    return plan_deployment(request) if dry_run else deploy_model(request, LocalTarget(request.root))
