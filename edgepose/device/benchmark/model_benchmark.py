"""Benchmarks a model file, a bundle or what is installed, as a run would take it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from msgspec.structs import replace as with_fields

from edgepose.device.benchmark.frame_age import FrameAgeRequest, measure_frame_age, require_source
from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.kept_process import CaptureOptions
from edgepose.device.estimator_choice import EstimatorChoice, chosen_models
from edgepose.errors import ConfigError
from edgepose.inference.benchmark import BenchmarkRequest, benchmark_model
from edgepose.inference.benchmark_rule import RULE, BenchmarkLength
from edgepose.inference.model_file import load_spec
from edgepose.inference.open_model import RuntimeOptions
from edgepose.spec.benchmark_report import BenchmarkReport
from edgepose.spec.device_profile import DeviceProfile


@dataclass(frozen=True)
class ModelBenchmark:
    """What to measure.

    Attributes:
        models: The models; a ``model`` may also be a person detector.
        profile: Whose device the record compares this machine with; a bundle and an installed model have
            their own.
        length: When it has lasted long enough.
        source: A camera or video for the age of frames; None measures none.
        lock: Locks the process in before a camera's first frame.
        capture: How the process that reads the source is watched.
        progress: Called with (done, in all).
    """

    models: EstimatorChoice
    profile: DeviceProfile | None = None
    length: BenchmarkLength = RULE
    source: str | SourceAddress | None = None
    lock: Callable[[], object] | None = None
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)


def benchmark_chosen(request: ModelBenchmark) -> BenchmarkReport:
    """Measures the model by itself, then the age of frames where a source was given.

    Raises:
        ConfigError: The source has no rate, or a person detector was to give poses.
        EdgeposeError: As ``chosen_models``, ``benchmark_model`` and ``measure_frame_age`` raise.
    """
    choice = request.models
    alone = choice.model is not None and load_spec(choice.model, choice.spec).paradigm == "detector"
    age = _age_request(request)
    if age is not None:
        if alone:
            raise ConfigError(
                "A person detector by itself gives no poses, whose age --source measures.",
                "Benchmark the pose model, and give the detector with --detector.",
            )
        require_source(age)
    report = _of_detector(request) if alone else _of_pose_model(request)
    return report if age is None else with_fields(report, frame_age=measure_frame_age(age))


def _of_detector(request: ModelBenchmark) -> BenchmarkReport:
    choice = request.models
    if choice.model is None or choice.detector is not None:
        raise ConfigError("MODEL is a person detector already.", "Leave --detector out.")
    return benchmark_model(
        BenchmarkRequest(
            choice.model,
            choice.spec,
            request.profile,
            RuntimeOptions(_threads(request) or 1),
            request.length,
            progress=request.progress,
        )
    )


def _of_pose_model(request: ModelBenchmark) -> BenchmarkReport:
    with chosen_models(replace(request.models, threads=_threads(request))) as models:
        return benchmark_model(
            BenchmarkRequest(
                models.model,
                None,
                request.profile or models.profile,
                models.options,
                request.length,
                models.spec,
                request.progress,
            )
        )


def _threads(request: ModelBenchmark) -> int | None:
    profile = request.profile
    return request.models.threads or (profile.runtime.threads if profile else None)


def _age_request(request: ModelBenchmark) -> FrameAgeRequest | None:
    if request.source is None:
        return None
    models = replace(request.models, threads=_threads(request))
    seconds = request.length.duration_s or RULE.duration_s
    return FrameAgeRequest(request.source, models, seconds, request.lock, request.capture)
