"""Which models a run uses: a file, a bundle, or what is installed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from edgepose.device.frame_estimator import FrameEstimator
from edgepose.device.install.accelerator import check_accelerator
from edgepose.errors import ConfigError
from edgepose.inference.bundle_model import unpacked_bundle
from edgepose.inference.detector import PersonDetector
from edgepose.inference.machine import this_is_the_device
from edgepose.inference.open_model import RuntimeOptions, open_backend, open_detector, open_pipeline
from edgepose.inference.pipeline import PosePipeline
from edgepose.spec.bundle_manifest import BundleManifest


@dataclass(frozen=True)
class EstimatorChoice:
    """At most one of ``model``, ``bundle`` and ``root``; none takes the default preview root.

    Attributes:
        model: A model file.
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


def open_estimator(choice: EstimatorChoice) -> FrameEstimator:
    """Opens the models of a run.

    Raises:
        ConfigError: The choice contradicts itself, or a spec is missing or wrong.
        MissingDependencyError: The runtime is not installed.
        ModelError: A model is damaged or unsupported.
        TrustError: The bundle or the installed model could not be verified.
        DeployError: Nothing is installed in the root.
        DeviceError: The delegate is missing, or the model is not compiled for it.
    """
    _check(choice)
    if choice.model is not None:
        pipeline = open_pipeline(choice.model, choice.spec, RuntimeOptions(choice.threads or 1))
        return FrameEstimator(pipeline, _given_detector(choice, choice.threads or 1))
    if choice.bundle is not None:
        with unpacked_bundle(choice.bundle) as (manifest, folder):
            return _from_manifest(manifest, folder, choice, None)
    from edgepose.device.install.installed import installed_model
    from edgepose.device.install.layout import engine_cache_beside

    installed = installed_model(choice.root)
    cache = engine_cache_beside(installed.folder)
    return _from_manifest(installed.manifest, installed.folder, choice, cache)


def _check(choice: EstimatorChoice) -> None:
    origins = {"--model": choice.model, "--bundle": choice.bundle, "--root": choice.root}
    given = [name for name, value in origins.items() if value is not None]
    if len(given) > 1:
        raise ConfigError(f"Only one of {', '.join(given)} can say which model runs.")
    if choice.spec is not None and choice.model is None:
        raise ConfigError("--spec describes a --model; a bundle and an installed model have their own.")
    if choice.detector_spec is not None and choice.detector is None:
        raise ConfigError("--detector-spec describes a --detector, which was not given.")


def _given_detector(choice: EstimatorChoice, threads: int) -> PersonDetector | None:
    if choice.detector is None:
        return None
    return open_detector(choice.detector, choice.detector_spec, RuntimeOptions(threads))


def _from_manifest(
    manifest: BundleManifest, folder: Path, choice: EstimatorChoice, engine_cache: Path | None
) -> FrameEstimator:
    on_device = this_is_the_device(manifest.profile.hardware)
    check_accelerator(manifest, on_device=on_device)
    options = _options(manifest, choice.threads, engine_cache, on_device=on_device)
    model = folder / manifest.model_file(on_device=on_device)
    pipeline = PosePipeline(open_backend(model, options), manifest.model.spec)
    detector = _given_detector(choice, options.threads)
    if detector is None and manifest.detector is not None:
        on_cpu = RuntimeOptions(options.threads)
        precision = manifest.detector.precision
        on_delegate = RuntimeOptions.for_detector(manifest.profile.runtime, precision, engine_cache)
        backend = open_backend(folder / manifest.detector.file, on_delegate if on_device else on_cpu)
        detector = PersonDetector(backend, manifest.detector.spec)
    return FrameEstimator(pipeline, detector)


def _options(
    manifest: BundleManifest, threads: int | None, engine_cache: Path | None, *, on_device: bool
) -> RuntimeOptions:
    """The profile's delegate on its own device; elsewhere, as a preview, the CPU."""
    runtime = manifest.profile.runtime
    if on_device:
        options = RuntimeOptions.for_device(runtime, manifest.model.precision, engine_cache)
        return options if threads is None else replace(options, threads=threads)
    return RuntimeOptions(threads or runtime.threads)
