"""Which models a run uses: a file, a bundle, or what is installed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from edgepose.device.install.health import check_accelerator
from edgepose.device.run.blazepose import BlazePoseDetector, BlazePoseEstimator
from edgepose.device.run.frame_estimator import FrameEstimator, PoseEstimator
from edgepose.errors import ConfigError
from edgepose.pose.codecs.blazepose import is_read
from edgepose.records.bundle_manifest import BundleManifest
from edgepose.records.device_profile import DeviceProfile, Precision
from edgepose.records.model_spec import BlazePoseDetectorCodecSpec, ModelSpec
from edgepose.runtime.bundle_model import unpacked_bundle
from edgepose.runtime.machine import this_is_the_device
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import RuntimeOptions, load_pose_spec, open_backend, open_detector
from edgepose.runtime.pipeline import PersonDetector, PosePipeline


@dataclass(frozen=True)
class EstimatorChoice:
    """At most one of ``model``, ``bundle`` and ``root``; none takes the default preview root.

    Attributes:
        spec: Its spec where it carries none.
        bundle: A bundle, verified before it is used.
        root: A device root with an installed model.
        detector: A person detector; replaces the one in a bundle or root.
        detector_spec: Its spec where it carries none.
        threads: CPU threads; None takes the profile's, or 1 for a model file.
    """

    model: Path | None = None
    spec: Path | None = None
    bundle: Path | None = None
    root: Path | None = None
    detector: Path | None = None
    detector_spec: Path | None = None
    threads: int | None = None


@dataclass(frozen=True)
class ChosenModels:
    """The files of a run, verified, not opened yet.

    Attributes:
        open_detector: Opens the person detector, or gives None where there is none.
        precision: Precision of the pose model where a manifest says it.
        profile: For which device a manifest says that it is.
    """

    model: Path
    spec: ModelSpec
    options: RuntimeOptions
    open_detector: Callable[[], PersonDetector | None]
    precision: Precision | None = None
    profile: DeviceProfile | None = None


def open_estimator(choice: EstimatorChoice) -> PoseEstimator:
    """Opens the models of a run.

    Raises:
        EdgeposeError: As ``opened_models`` raises.
    """
    return opened_models(choice)()


def opened_models(choice: EstimatorChoice) -> Callable[[], PoseEstimator]:
    """Opens models once and gives what makes an estimator of them that follows none yet.

    BlazePose's own detector makes the run go as MediaPipe's own does.

    Raises:
        ConfigError: The choice contradicts itself, nothing is installed, or a spec is missing or wrong.
        MissingDependencyError: The runtime is not installed.
        ModelError: A model is damaged or unsupported.
        TrustError: The bundle or the installed model could not be verified.
        DeployError: The state of the root cannot be read.
        DeviceError: The delegate is missing, or the model is not compiled for it.
    """
    with chosen_models(choice) as models:
        own_detector = _blazepose_detector_spec(choice)
        if choice.detector is not None and own_detector is not None:
            blazepose = BlazePoseDetector(
                open_backend(choice.detector, RuntimeOptions(models.options.threads)), own_detector
            )
            # A third of the landmark model's time goes into a mask that no one reads.
            landmarks = open_backend(models.model, replace(models.options, reads=is_read))
            return lambda: BlazePoseEstimator(landmarks, models.spec, blazepose)
        pipeline = PosePipeline(open_backend(models.model, models.options), models.spec)
        detector = models.open_detector()
        return lambda: FrameEstimator(pipeline, detector)


@contextmanager
def chosen_models(choice: EstimatorChoice) -> Iterator[ChosenModels]:
    """Finds and verifies the models of a run; the files of a bundle are there for the time of the block.

    Raises:
        EdgeposeError: As ``open_estimator``, but for what opening a model raises.
    """
    _check(choice)
    if choice.model is not None:
        options = RuntimeOptions(choice.threads or 1)
        spec = load_pose_spec(choice.model, choice.spec)
        yield ChosenModels(choice.model, spec, options, lambda: _given_detector(choice, options.threads))
    elif choice.bundle is not None:
        with unpacked_bundle(choice.bundle) as (manifest, folder):
            yield _from_manifest(manifest, folder, choice, None)
    else:
        from edgepose.device.install.installed import installed_model
        from edgepose.device.install.layout import engine_cache_beside

        installed = installed_model(choice.root)
        cache = engine_cache_beside(installed.folder)
        yield _from_manifest(installed.manifest, installed.folder, choice, cache)


def _check(choice: EstimatorChoice) -> None:
    origins = {"--model": choice.model, "--bundle": choice.bundle, "--root": choice.root}
    given = [name for name, value in origins.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"Only one of {', '.join(given)} can say which model runs.")
    if choice.spec is not None and choice.model is None:
        raise ConfigError("--spec describes a --model; a bundle and an installed model have their own.")
    if choice.detector_spec is not None and choice.detector is None:
        raise ConfigError("--detector-spec describes a --detector, which was not given.")


def _blazepose_detector_spec(choice: EstimatorChoice) -> ModelSpec | None:
    if choice.detector is None:
        return None
    spec = load_spec(choice.detector, choice.detector_spec)
    return spec if isinstance(spec.codec, BlazePoseDetectorCodecSpec) else None


def _given_detector(choice: EstimatorChoice, threads: int) -> PersonDetector | None:
    if choice.detector is None:
        return None
    return open_detector(choice.detector, choice.detector_spec, RuntimeOptions(threads))


def _from_manifest(
    manifest: BundleManifest, folder: Path, choice: EstimatorChoice, engine_cache: Path | None
) -> ChosenModels:
    on_device = this_is_the_device(manifest.profile.hardware)
    check_accelerator(manifest, on_device=on_device)
    options = _options(manifest, choice.threads, engine_cache, on_device=on_device)

    def open_detector_of_it() -> PersonDetector | None:
        detector = _given_detector(choice, options.threads)
        if detector is not None or manifest.detector is None:
            return detector
        on_cpu = RuntimeOptions(options.threads)
        precision = manifest.detector.precision
        on_delegate = RuntimeOptions.for_detector(manifest.profile.runtime, precision, engine_cache)
        backend = open_backend(folder / manifest.detector.file, on_delegate if on_device else on_cpu)
        return PersonDetector(backend, manifest.detector.spec)

    return ChosenModels(
        model=folder / manifest.model_file(on_device=on_device),
        spec=manifest.model.spec,
        options=options,
        open_detector=open_detector_of_it,
        precision=manifest.model.precision,
        profile=manifest.profile,
    )


def _options(
    manifest: BundleManifest, threads: int | None, engine_cache: Path | None, *, on_device: bool
) -> RuntimeOptions:
    """The profile's delegate on its own device; elsewhere, as a preview, the CPU."""
    runtime = manifest.profile.runtime
    if on_device:
        options = RuntimeOptions.for_device(runtime, manifest.model.precision, engine_cache)
        return options if threads is None else replace(options, threads=threads)
    return RuntimeOptions(threads or runtime.threads)
