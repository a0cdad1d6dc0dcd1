"""The loop: source, models, tracker, outputs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2

from edgepose.device.capture.frame_source import Frame, FrameSource, SourceInfo
from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.device.events import EventBus, RateChange
from edgepose.device.output.pose_sink import JsonlSink, PoseSink
from edgepose.device.run.estimator_choice import EstimatorChoice, open_estimator
from edgepose.device.run.frame_estimator import PoseEstimator
from edgepose.device.run.input_pacing import InputPacer
from edgepose.device.run.smoothing import PoseSmoother
from edgepose.device.run.stages import (
    DirectWriter,
    Estimated,
    ResultStage,
    ResultWriter,
    ThreadedWriter,
)
from edgepose.device.run.summary import Ending, RunSummary
from edgepose.device.run.tracking import OksTracker, Tracker
from edgepose.device.sandbox.lock import lock_or_say
from edgepose.errors import ConfigError
from edgepose.records.device_status import SandboxReport
from edgepose.runtime.pipeline import STAGES

# Python's 5 ms are half a frame's time: a thread that comes back from the model would wait so long for one
# that writes JSON. Switching more often only costs where two threads want to run Python at once.
_INTERVAL_S = 0.0002


@contextmanager
def prompt_switching() -> Iterator[None]:
    """Lets a waiting thread run after 0.2 ms, inside the block."""
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(min(_INTERVAL_S, before_s))
    try:
        yield
    finally:
        sys.setswitchinterval(before_s)


# How long a quiet camera may keep the loop from looking at its stop signal.
_WAIT_S = 0.2
# Images of a folder have no time; the tracker needs one that goes on evenly.
_NS_PER_PICTURE = 100_000_000
# A person goes about half the own width in ten frames of a video; following is about as good as detecting.
DETECT_EVERY = 10

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RunRequest:
    """What to run.

    Attributes:
        output: JSON lines; ``-`` is standard output; None writes none.
        render: Video with the poses drawn; None draws none.
        max_frames: Ends after so many frames; None runs to the end.
        lock: Locks the process in once everything is open, before the first frame; None leaves it unlocked.
        observers: Who else takes the results, beside the outputs; closed by who opened them.
        detect_every: A detector looks at each so-manieth frame; None takes 10 for a video or camera, and 1
            for images of a folder, which have nothing to do with each other.
        smoothing: Steady keypoints; None smooths a video or camera and leaves a folder alone.
        append: Add to the lines that ``output`` holds, as a service does, which begins again and again.
    """

    source: str | SourceAddress
    models: EstimatorChoice
    output: Path | None = None
    render: Path | None = None
    max_frames: int | None = None
    lock: Callable[[], object] | None = None
    observers: tuple[PoseSink, ...] = ()
    detect_every: int | None = None
    smoothing: bool | None = None
    capture: CaptureOptions = field(default_factory=CaptureOptions)
    append: bool = False
    events: EventBus = field(default_factory=EventBus)


@dataclass(frozen=True)
class LoopControl:
    """How a loop is watched and ended.

    Attributes:
        stop: Asked after each frame; true ends the run with all outputs finished.
        progress: Called with the frames done and the frames expected (0 where no one knows).
        overlapped: Tracks and writes in a thread beside the models; else all follows one after the other.
        pacer: Lowers the rate of a live source under heat or load.
    """

    stop: Callable[[], bool] = field(default=lambda: False)
    progress: Progress = field(default=lambda _done, _total: None)
    max_frames: int | None = None
    overlapped: bool = False
    smoother: PoseSmoother | None = None
    pacer: InputPacer | None = None
    events: EventBus = field(default_factory=EventBus)


def run(
    request: RunRequest,
    stop: Callable[[], bool] = lambda: False,
    progress: Progress | None = None,
    estimator: PoseEstimator | None = None,
) -> RunSummary:
    """Opens everything, runs to the end, closes everything; an open ``estimator`` follows none yet.

    Raises:
        ConfigError: Source, output or models are not usable.
        MissingDependencyError: A runtime or video codec is missing.
        ModelError: A model is damaged or failed.
        TrustError: A bundle or an installed model could not be verified.
        DeviceError: A camera or an accelerator failed.
    """
    address = parse_source(request.source)
    refuse_overwriting(request.models, address, (request.output, request.render))
    with ExitStack() as opened:
        # OpenCV's own pool only adds memory and switches for images as small as a model's input. It is the
        # whole process's, and a Python program has other work for it afterwards.
        opened.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(request.models.threads or 1)
        # Its process starts and opens the source while this one loads the models.
        source = SupervisedSource(address, replace(request.capture, events=request.events))
        opened.callback(source.close)
        estimator = estimator or open_estimator(request.models)
        info = source.info
        estimator.detect_every = request.detect_every or (DETECT_EVERY if info.is_stream else 1)
        smooths = info.is_stream if request.smoothing is None else request.smoothing
        sinks = _open_sinks(request, info, opened)
        control = LoopControl(
            stop,
            progress or (lambda _done, _total: None),
            request.max_frames,
            overlapped=True,
            smoother=PoseSmoother() if smooths and not estimator.take_smoothing() else None,
            pacer=InputPacer() if info.live else None,
            events=request.events,
        )
        if request.lock is not None:
            request.lock()
        return run_source(source, estimator, OksTracker(), sinks, control)


def run_source(
    source: FrameSource,
    estimator: PoseEstimator,
    tracker: Tracker,
    sinks: Sequence[PoseSink],
    control: LoopControl,
) -> RunSummary:
    """Runs a source through the models into the sinks; opens and closes nothing.

    Where it fails, everything that was estimated before is written first.

    Raises:
        EdgeposeError: As source, models and sinks raise.
    """
    info = source.info
    stage = ResultStage(tracker, control.smoother, sinks)
    writer: ResultWriter = ThreadedWriter(stage.write) if control.overlapped else DirectWriter(stage.write)
    start_ns = time.monotonic_ns()
    try:
        with prompt_switching():
            ending = _Loop(source, estimator, writer, control).run()
            writer.finish()
    except BaseException:
        writer.settle()
        raise
    duration_s = (time.monotonic_ns() - start_ns) / 1e9
    return stage.counter.summary(info.name, duration_s, ending, estimator.backend_info)


class _Loop:
    """The thread of the models: one frame after the other, until something ends it."""

    def __init__(
        self,
        source: FrameSource,
        estimator: PoseEstimator,
        writer: ResultWriter,
        control: LoopControl,
    ) -> None:
        self._source = source
        self._info = source.info
        self._estimator = estimator
        self._writer = writer
        self._control = control
        self._frames = 0
        self._skipped = 0
        self._dropped = 0
        self._rate_change: RateChange | None = None

    def run(self) -> Ending:
        control = self._control
        total = min(self._info.frame_count or 0, control.max_frames or self._info.frame_count or 0)
        while (ending := _ending(self._source, self._frames, control)) is None:
            frame = self._source.read(_WAIT_S)
            if frame is None:
                continue
            if control.pacer is not None and not control.pacer.admits(frame):
                self._skip(frame)
                continue
            self._process(frame)
            control.progress(self._frames, total)
        return ending

    def _skip(self, frame: Frame) -> None:
        self._skipped += 1
        self._dropped += 1 + frame.dropped_before

    def _process(self, frame: Frame) -> None:
        start_ns = time.monotonic_ns()
        time_ns = _scene_time_ns(frame, self._info)
        poses, timer = self._estimator.estimate(frame.image, time_ns), self._estimator.timer
        if self._dropped:
            frame = replace(frame, dropped_before=frame.dropped_before + self._dropped)
        stages_ms = {stage: timer.elapsed_ms(stage) for stage in STAGES}
        self._writer.give(Estimated(frame, poses, stages_ms, time_ns, self._skipped, self._rate_change))
        self._skipped = self._dropped = 0
        self._frames += 1
        if self._control.pacer is not None:
            frame_ms = (time.monotonic_ns() - start_ns) / 1e6
            self._rate_change = self._control.pacer.measured(frame, frame_ms)
            if self._rate_change is not None:
                self._control.events.publish(self._rate_change.as_event())


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
        sinks.append(JsonlSink(request.output, append=request.append))
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


def live_lock(
    source: str | SourceAddress, say: Callable[[str], None], *, unlocked: bool, writable: Iterable[Path] = ()
) -> Callable[[], SandboxReport] | None:
    """What a run calls before its first frame.

    Args:
        source: SOURCE as typed.
        say: Takes a line for people where the kernel refuses and that is allowed.
        unlocked: Whether the run may go on unlocked.
        writable: Folders in which the run still makes files.

    Returns:
        None for files.

    Raises:
        ConfigError: SOURCE is none.
    """
    address = parse_source(source)
    if address.kind == "path":
        return None
    folders = (*writable, *address.met_in)
    return lambda: lock_or_say(frozenset(), say, unlocked=unlocked, writable=folders)


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
