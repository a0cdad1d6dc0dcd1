"""Carries a deployment out: every step on this machine first, the target last.

Where a bundle is installed is passed in by the command line, because ``host`` does not know ``device``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import msgspec

from edgepose.errors import ModelError
from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.data.coco import read_coco
from edgepose.host.deploy.judgement import (
    box_loss,
    detector_agreement,
    measure_and_judge,
    pictures_of,
    require_accuracy,
    require_agreement,
    require_pass,
    require_separate_pictures,
)
from edgepose.host.deploy.plan import DeployPlan, DeployRequest, make_plan
from edgepose.host.models.artifact import ModelArtifact, open_artifact
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest
from edgepose.records.deployment_report import (
    BundleReport,
    DeploymentReport,
    DeploymentStep,
    InstallationReport,
    InstallOptions,
    RolloutReport,
)
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.drift_record import DriftReference, FeatureName
from edgepose.records.lineage import RECIPES
from edgepose.records.quantization import TensorError
from edgepose.records.record import to_builtins
from edgepose.runtime.drift_features import PoseSampler, histogram, image_samples, no_samples
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.open_model import open_detector
from edgepose.runtime.pipeline import PersonDetector, PosePipeline, confident
from edgepose.trust.bundle_reader import verify_bundle
from edgepose.trust.digests import sha256_of_file

# What single pictures have; how many persons there are, unrest and latency belong to a place, not to a model.
REFERENCED: tuple[FeatureName, ...] = (
    "brightness", "sharpness", "scale", "confidence", "visibility", "leg_ratio", "arm_ratio", "tilt",
)  # fmt: skip
# Beyond this many pictures a histogram does not change any more.
MOST_PICTURES = 200
LEAST_SAMPLES = 20


def drift_reference(
    pipeline: PosePipeline,
    detector: PersonDetector | None,
    pictures: Sequence[Path],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> DriftReference:
    """Looks at what the model was judged on as the device will, at evenly spread images where there are many.

    Raises:
        ConfigError: A picture is not readable.
        ModelError: The model failed.
    """
    samples, sampler = no_samples(), PoseSampler(pipeline.spec.pose_skeleton)
    step = max(len(pictures) // MOST_PICTURES, 1)
    chosen = pictures[::step][:MOST_PICTURES]
    for done, path in enumerate(chosen, start=1):
        image = read_image_rgb(path)
        boxes, scores = (None, None) if detector is None else detector.detect(image)
        poses = confident(pipeline.estimate(image, boxes, scores), pipeline.spec.min_pose_score)
        for name, value in image_samples(image).items():
            samples[name].append(value)
        sampler.sample(poses, image.shape[0], samples)
        progress(done, len(chosen))
    features = {
        name: histogram(name, samples[name]) for name in REFERENCED if len(samples[name]) >= LEAST_SAMPLES
    }
    return DriftReference(pictures=len(chosen), features=features)


class StepLog:
    """The steps that were carried out."""

    def __init__(self, total: int, say: Callable[[str], None]) -> None:
        self.steps: list[DeploymentStep] = []
        self._total = total
        self._say = say

    @contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Times a step.

        Yields:
            A function that takes the step's figure in words; the last one counts.
        """
        detail = ""

        def note(text: str) -> None:
            nonlocal detail
            detail = text

        start_ns = time.monotonic_ns()
        yield note
        seconds = (time.monotonic_ns() - start_ns) / 1e9
        self.steps.append(DeploymentStep(name=name, detail=detail, seconds=round(seconds, 3)))
        number = f"[{len(self.steps)}/{self._total}]"
        self._say(f"{number} {name:<10} {detail}  ({seconds:.1f} s)")


class InstallTarget(Protocol):
    """A device root here, and later one over ssh."""

    def check(self, profile: DeviceProfile) -> None:
        """Refuses a target of no use, before any work and without changing it.

        Raises:
            EdgeposeError: It belongs to something else, to another profile, or cannot be written.
        """
        ...

    def next_version(self) -> int:
        """The bundle version that comes after everything installed so far."""
        ...

    def install(
        self, bundle: Path, options: InstallOptions, say: Callable[[str], None]
    ) -> InstallationReport | RolloutReport:
        """Installs a bundle; returns the record of the installation, or that of a rollout to many.

        Raises:
            EdgeposeError: It failed; the version before is active.
        """
        ...


_RUNNABLE = frozenset({"onnx", "tflite"})


@dataclass(frozen=True)
class _Shipped:
    """The pose model that goes to the device, with what the gate needs to know."""

    artifact: ModelArtifact
    parent: ModelArtifact
    tensor_errors: Callable[[], tuple[TensorError, ...]] = tuple


def plan_deployment(request: DeployRequest) -> DeploymentReport:
    """Says what ``deploy`` would do; opens the model and writes nothing.

    Raises:
        EdgeposeError: As ``open_artifact`` and ``make_plan`` raise.
    """
    plan = make_plan(request, open_artifact(request.model, request.spec_file), RECIPES)
    return _report(request, plan, dry_run=True)


def deploy(request: DeployRequest, target: InstallTarget) -> DeploymentReport:
    """Converts, quantizes, judges, bundles, verifies, installs.

    The target is touched by the last step only, and then by the installer, which leaves the version
    before when anything fails.

    Raises:
        ConfigError: The model, the spec, the data or the root cannot be used.
        MissingDependencyError: A package or tool is not installed.
        ModelError: The model is damaged, or was damaged on the way.
        GateFailedError: The model lost too much; the target is untouched.
        TrustError: The bundle or the target's state is not as it must be.
        DeployError: The installation failed; the version before is active.
    """
    source = open_artifact(request.model, request.spec_file)
    plan = make_plan(request, source, RECIPES)
    target.check(request.profile)
    require_separate_pictures(request, plan)
    log = StepLog(len(plan.steps), request.say)
    with TemporaryDirectory(prefix="edgepose-deploy-") as folder:
        work = Path(folder)
        shipped = _prepare(request, plan, source, work, log)
        with log.step("evaluate") as note:
            gate, evaluation = measure_and_judge(request, shipped.parent, shipped.artifact, note)
        with log.step("gate") as note:
            require_pass(gate, () if gate.passed else shipped.tensor_errors())
            left = [name for name in gate.not_measured if name != "bundle_mib"]
            note(f"passed; left to the device: {', '.join(left)}")
        detector = _prepare_detector(request, work, log)
        bundle = BundleRequest(
            model=shipped.artifact,
            profile=request.profile,
            output=work / "model.epb",
            spec_file=request.spec_file,
            detector=detector,
            detector_spec_file=request.detector_spec,
            bundle_version=target.next_version(),
            gate=to_builtins(gate),
            accuracy=gate.accuracy,
            evaluation=evaluation,
            sign=request.sign,
        )
        summary = _bundle(bundle, lambda: _drift_reference(request, shipped.artifact, detector), log)
        with log.step("install") as note:
            installation = target.install(bundle.output, request.install, request.say)
            one = installation if isinstance(installation, InstallationReport) else None
            slot = "of each device" if one is None else one.active_slot
            note(f"version {installation.bundle_version} in slot {slot}")
    return msgspec.structs.replace(
        _report(request, plan, dry_run=False),
        steps=tuple(log.steps),
        gate=gate,
        bundle=summary,
        installation=one,
    )


def _prepare(
    request: DeployRequest, plan: DeployPlan, source: ModelArtifact, work: Path, log: StepLog
) -> _Shipped:
    target_format = request.profile.runtime.model_format
    current = source
    if plan.convert:
        with log.step("convert") as note:
            converted = convert_model(
                ConversionRequest(source, target_format, work / f"float.{target_format}", request.say)
            )
            current = converted.artifact
            worst = max(
                (p.max_abs_error / p.value_range for p in converted.record.parity if p.value_range),
                default=0.0,
            )
            note(
                f"{source.format} to {target_format} by {converted.record.route}, "
                f"{sum(converted.record.model.ops.values())} ops, largest error {worst:.1e} of the range"
            )
    # A Keras model runs nowhere on the device; its converted form, proven equal, stands for it.
    parent = source if source.format in _RUNNABLE and source.sha256 != current.sha256 else current
    parent = parent if _has_fixed_sizes(parent) else current
    if not plan.quantize:
        return _Shipped(
            current, parent if request.float_parent is None else open_artifact(request.float_parent)
        )
    with log.step("quantize") as note:
        output = work / f"model.{target_format}"
        asked = QuantizationRequest.for_profile(request.profile, current, plan.recipe, output)
        detector = open_detector(request.detector, request.detector_spec) if request.detector else None
        result = quantize_model(
            replace(
                asked,
                calibration=request.data,
                detector=detector,
                seed=request.seed,
                repair=plan.repair,
                say=request.say,
                diagnose=False,
            )
        )
        size = result.artifact.size_bytes
        note(
            f"{result.report.recipe.name}, {size / 2**20:.2f} MiB "
            f"({size / current.size_bytes:.0%} of float), "
            f"{sum(result.report.model.float_ops.values())} ops in float"
        )
    return _Shipped(result.artifact, parent, result.tensor_errors)


def _has_fixed_sizes(model: ModelArtifact) -> bool:
    try:
        _ = model.backend
    except ModelError:
        return False
    return True


def _prepare_detector(request: DeployRequest, work: Path, log: StepLog) -> ModelArtifact | None:
    """Brings the detector into the profile's format; float16 unless float32 was asked for."""
    if request.detector is None:
        return None
    target_format = request.profile.runtime.model_format
    with log.step("detector") as note:
        source = open_artifact(request.detector, request.detector_spec)
        current = source
        if source.format != target_format:
            request_ = ConversionRequest(
                source, target_format, work / f"detector32.{target_format}", request.say
            )
            current = convert_model(request_).artifact
        if current.precision == "float32" and request.precision != "float32":
            output = work / f"detector.{target_format}"
            current = quantize_model(
                QuantizationRequest(current, RECIPES["float16"], target_format, output, compared_crops=0)
            ).artifact
        parent = source if request.detector_parent is None else open_artifact(request.detector_parent)
        found = _judge_detector(request, parent, current)
        note(f"{source.spec.name}, {current.precision}, {current.size_bytes / 2**20:.2f} MiB, {found}")
    return current


def _judge_detector(request: DeployRequest, parent: ModelArtifact, shipped: ModelArtifact) -> str:
    """By agreement; where that is not reached and there are labels, by these."""
    agreement = detector_agreement(
        PersonDetector(parent.backend, parent.spec),
        PersonDetector(shipped.backend, shipped.spec),
        pictures_of(request),
    )
    if agreement.reached or request.annotations is None or request.images is None:
        require_agreement(agreement, shipped.path.name)
        return f"finds {agreement.share:.1%} of {agreement.parent_boxes} persons as its parent does"
    from edgepose.host.evaluate.predictions import EVALUATION_SCORE_THRESHOLD

    first, second = (
        PersonDetector(model.backend, model.spec, EVALUATION_SCORE_THRESHOLD) for model in (parent, shipped)
    )
    labels = read_coco(request.annotations, request.images)
    loss = box_loss(first, second, labels, request.profile.budgets.max_oks_ap_drop)
    require_accuracy(loss, agreement, shipped.path.name)
    return f"box AP {loss.shipped_ap:.4f} on {loss.persons} persons, its parent {loss.parent_ap:.4f}"


def _bundle(
    bundle: BundleRequest, reference: Callable[[], DriftReference | None], log: StepLog
) -> BundleReport:
    with log.step("bundle") as note:
        build_bundle(replace(bundle, drift_reference=reference()))
        manifest = verify_bundle(bundle.output)
        size = bundle.output.stat().st_size
        files = len(manifest.files)
        compiled = manifest.accelerator
        said = f"; {compiled.title}: {compiled.describe()}" if compiled else ""
        note(f"version {manifest.bundle_version}, {size / 2**20:.2f} MiB, {files} files, verified{said}")
    return BundleReport(
        bundle_version=manifest.bundle_version,
        size_bytes=size,
        sha256=sha256_of_file(bundle.output),
        model_sha256=manifest.model.sha256,
        accelerator=compiled,
        edgetpu=compiled.without_name() if compiled and compiled.name == "edgetpu" else None,
    )


def _drift_reference(
    request: DeployRequest, shipped: ModelArtifact, detector: ModelArtifact | None
) -> DriftReference | None:
    """What the device compares its camera with: the pictures that the model was judged on."""
    pictures = pictures_of(request)
    if not pictures:
        return None
    stage = None
    if detector is not None:
        stage = PersonDetector(detector.backend, detector.spec)
    return drift_reference(shipped.pipeline(), stage, pictures)


def _report(request: DeployRequest, plan: DeployPlan, *, dry_run: bool) -> DeploymentReport:
    return DeploymentReport(
        schema="edgepose.deployment/1",
        profile=request.profile.id,
        precision=plan.precision,
        recipe=plan.recipe.name if plan.quantize else "as given",
        dry_run=dry_run,
        plan=plan.steps,
        root=None if dry_run else str(request.root),
    )
