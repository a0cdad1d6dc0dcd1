"""The loop: source, models, tracker, outputs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.frame_source import FrameSource, SourceInfo
from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.estimator_choice import EstimatorChoice, open_estimator
from edgepose.device.frame_estimator import FrameEstimator
from edgepose.device.output.jsonl_sink import JsonlSink
from edgepose.device.output.pose_sink import FrameResult, PoseSink
from edgepose.device.run_summary import Ending, RunCounter, RunSummary
from edgepose.device.tracking.oks_tracker import OksTracker
from edgepose.device.tracking.tracker import Tracker
from edgepose.errors import ConfigError

# How long a quiet camera may keep the loop from looking at its stop signal.
_WAIT_S = 0.2
# Pictures of a folder have no time; the tracker needs one that goes on evenly.
_NS_PER_PICTURE = 100_000_000

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        source: SOURCE as typed.
        models: The models.
        output: JSON lines; ``-`` is standard output; None writes none.
        render: Video with the poses drawn; None draws none.
        max_frames: Ends after so many frames; None runs to the end.
        lock: Locks the process in once everything is open, before the first frame; None leaves it unlocked.
        observers: Who else takes the results, beside the outputs; closed by whoever opened them.
    """

    source: str
    models: EstimatorChoice
    output: Path | None = None
    render: Path | None = None
    max_frames: int | None = None
    lock: Callable[[], object] | None = None
    observers: tuple[PoseSink, ...] = ()


@dataclass(frozen=True)
class LoopControl:
    """How a loop is watched and ended.

    Attributes:
        stop: Asked after each frame; true ends the run with all outputs finished.
        progress: Called with the frames done and the frames expected (0 where nobody knows).
        max_frames: Ends after so many frames.
    """

    stop: Callable[[], bool] = field(default=lambda: False)
    progress: Progress = field(default=lambda _done, _total: None)
    max_frames: int | None = None


def run(
    request: RunRequest, stop: Callable[[], bool] = lambda: False, progress: Progress | None = None
) -> RunSummary:
    """Opens everything, runs to the end, closes everything.

    Raises:
        ConfigError: Source, output or models are not usable.
        MissingDependencyError: A runtime or video codec is missing.
        ModelError: A model is damaged or failed.
        TrustError: A bundle or an installed model could not be verified.
        DeviceError: A camera or an accelerator failed.
    """
    address = parse_source(request.source)
    refuse_overwriting(request.models, address, (request.output, request.render))
    # OpenCV's own pool only adds memory and switches for pictures as small as a model's input.
    cv2.setNumThreads(request.models.threads or 1)
    with ExitStack() as opened:
        # The models first: a camera that waits for them would only drop frames.
        estimator = open_estimator(request.models)
        source = open_source(address)
        opened.callback(source.close)
        sinks = _open_sinks(request, source.info, opened)
        if request.lock is not None:
            request.lock()
        control = LoopControl(stop, progress or (lambda _done, _total: None), request.max_frames)
        return run_source(source, estimator, OksTracker(), sinks, control)


def run_source(
    source: FrameSource,
    estimator: FrameEstimator,
    tracker: Tracker,
    sinks: Sequence[PoseSink],
    control: LoopControl,
) -> RunSummary:
    """Runs a source through the models into the sinks; opens and closes nothing.

    Raises:
        EdgeposeError: As source, models and sinks raise.
    """
    counter, info = RunCounter(), source.info
    total = min(info.frame_count or 0, control.max_frames or info.frame_count or 0)
    start_ns = time.monotonic_ns()
    while (ending := _ending(source, counter.frames, control)) is None:
        frame = source.read(_WAIT_S)
        if frame is None:
            continue
        poses = estimator.estimate(frame.image)
        poses = tracker.update(poses, _scene_time_ns(frame, info))
        latency_ms = (time.monotonic_ns() - frame.timestamp_ns) / 1e6
        for sink in sinks:
            sink.write(FrameResult(frame, poses, latency_ms))
        counter.count(poses, frame.dropped_before, latency_ms, estimator.timer)
        control.progress(counter.frames, total)
    duration_s = (time.monotonic_ns() - start_ns) / 1e9
    return counter.summary(info.name, duration_s, ending, estimator.backend_info)


def _ending(source: FrameSource, frames: int, control: LoopControl) -> Ending | None:
    if control.max_frames is not None and frames >= control.max_frames:
        return "max_frames"
    if control.stop():
        return "signal"
    return "source" if source.ended else None


def _scene_time_ns(frame: Frame, info: SourceInfo) -> int:
    """Files are read faster or slower than they were recorded, so their frames count the time."""
    if info.live:
        return frame.timestamp_ns
    return round(frame.index * 1e9 / info.fps) if info.fps else frame.index * _NS_PER_PICTURE


def _open_sinks(request: RunRequest, info: SourceInfo, opened: ExitStack) -> list[PoseSink]:
    sinks: list[PoseSink] = list(request.observers)
    if request.output is not None:
        sinks.append(JsonlSink(request.output))
        opened.push(_closer(sinks[-1]))
    if request.render is not None:
        from edgepose.device.output.video_sink import VideoSink

        sinks.append(VideoSink(request.render, info.fps))
        opened.push(_closer(sinks[-1]))
    return sinks


def _closer(sink: PoseSink) -> Callable[[object, object, object], None]:
    def close(error_type: object, _error: object, _traceback: object) -> None:
        sink.close(complete=error_type is None)

    return close


def refuse_overwriting(
    models: EstimatorChoice, address: SourceAddress, outputs: Sequence[Path | None]
) -> None:
    """Outputs replace what is there, so they must not name an input or each other.

    Raises:
        ConfigError: One does.
    """
    inputs = [models.model, models.spec, models.bundle, models.detector, models.detector_spec]
    taken = [Path(address.location), *inputs] if address.kind == "path" else inputs
    used = {path.resolve() for path in taken if path is not None}
    for output in outputs:
        if output is None or output == Path("-"):
            continue
        if output.resolve() in used:
            raise ConfigError(
                f"The output {output} is also an input or another output.", "Choose another name."
            )
        used.add(output.resolve())
