"""Drift as an output of the run: a look now and then, window after window, and the bus is told."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timezone
from math import log2
from pathlib import Path
from typing import Literal

from edgepose.device.events import EventBus
from edgepose.device.install.installed import installed_model
from edgepose.device.monitor.drift_files import DriftFiles, RunningModel, describe_event, retraining_request
from edgepose.device.monitor.drift_watch import DriftLimits, DriftWatch, drift_event
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.output.streams import FedProcess
from edgepose.errors import ConfigError, TrustError
from edgepose.pose.skeletons import Skeleton
from edgepose.records.drift_record import DriftEvent, DriftReference
from edgepose.records.record import from_json, to_json
from edgepose.runtime.drift_features import PoseSampler, image_samples, no_samples
from edgepose.trust.digests import sha256_of_bytes


@dataclass(frozen=True)
class DriftOptions:
    """How drift is looked for.

    Attributes:
        samples: So many frames of a window are looked at, evenly spread.
        now: The wall clock: a label.
    """

    window_s: float = 300.0
    samples: int = 150
    limits: DriftLimits = field(default_factory=DriftLimits)
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)


@dataclass(frozen=True)
class DriftChoice:
    """What is watched, and who is told.

    Attributes:
        root: The device root whose installed model runs; what is known is kept there.
        hook: A command of the user's shell that is run at each event; None runs none.
    """

    root: Path
    hook: str | None = None
    options: DriftOptions = field(default_factory=DriftOptions)


@dataclass(frozen=True)
class DriftListeners:
    """Who is told.

    Attributes:
        events: Telemetry and page: feature and size, nothing else.
        hook: Takes each event that began or ended, whole.
    """

    events: EventBus = field(default_factory=EventBus)
    hook: Callable[[DriftEvent], None] = field(default=lambda _event: None)
    say: Callable[[str], None] = field(default=lambda _line: None)


class DriftSink:
    """Looks at a frame now and then and keeps a few numbers of it."""

    def __init__(
        self,
        root: Path,
        model: RunningModel,
        reference: DriftReference | None,
        listeners: DriftListeners,
        options: DriftOptions | None = None,
    ) -> None:
        self._files, self._model, self._listeners = DriftFiles(root), model, listeners
        self._options = options or DriftOptions()
        sha256 = model.manifest.model.sha256
        self._watch = DriftWatch(
            sha256, reference, self._files.baseline(), self._files.status(), self._options.limits
        )
        self._samples = no_samples()
        self._sampler: PoseSampler | None = None
        self._skeleton: Skeleton | None = None
        self._next_ns: int | None = None
        self._window_end_ns = 0
        self._motion_left = 0
        self._cannot_write = False

    def write(self, result: FrameResult) -> None:
        """Looks at a frame where it is time."""
        now_ns = result.scene_time_ns
        if self._next_ns is None:
            self._next_ns = now_ns
            self._window_end_ns = now_ns + round(self._options.window_s * 1e9)
        if now_ns >= self._window_end_ns:
            self._end_window()
            self._window_end_ns = now_ns + round(self._options.window_s * 1e9)
        if now_ns >= self._next_ns:
            self._next_ns = now_ns + round(self._options.window_s / self._options.samples * 1e9)
            self._motion_left = 2
            self._sample(result)
        elif self._motion_left:
            # Unrest needs three frames in a row: this one and the next after a sample.
            self._motion_left -= 1
            self._sample_motion(result)

    def close(self, *, complete: bool) -> None:
        """A window that was begun tells too little to be judged."""
        del complete

    def _sample(self, result: FrameResult) -> None:
        samples, image = self._samples, result.frame.image
        for name, value in image_samples(image).items():
            samples[name].append(value)
        frame_ms = sum(result.stages_ms.values())
        if frame_ms > 0:
            samples["latency"].append(log2(frame_ms))
        self._poses_of(result).sample(result.unsmoothed, image.shape[0], samples)

    def _sample_motion(self, result: FrameResult) -> None:
        self._poses_of(result).sample_motion(result.unsmoothed, self._samples)

    def _poses_of(self, result: FrameResult) -> PoseSampler:
        skeleton = result.poses.skeleton
        if self._sampler is None or skeleton is not self._skeleton:
            self._sampler, self._skeleton = PoseSampler(skeleton), skeleton
        return self._sampler

    def _end_window(self) -> None:
        samples, self._samples = self._samples, no_samples()
        at = self._options.now().astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        learned_before = self._watch.baseline
        begun, ended = self._watch.take(samples, at)
        for event in begun:
            self._tell("drift_started", event)
        for event in ended:
            self._tell("drift_ended", event)
        self._keep(learned_before is not self._watch.baseline, at if begun else None)

    def _tell(self, kind: Literal["drift_started", "drift_ended"], event: DriftEvent) -> None:
        self._listeners.events.publish(drift_event(kind, event.feature, event.size))
        self._listeners.hook(event)
        self._listeners.say(describe_event(event))

    def _keep(self, learned: bool, asked_at: str | None) -> None:  # noqa: FBT001 (one caller)
        watch = self._watch
        try:
            self._files.write(watch.baseline if learned else None, watch.status)
            if asked_at is not None and watch.status.asked_for:
                self._files.ask(retraining_request(self._model, watch.status.asked_for, asked_at))
        except ConfigError as problem:
            # A full disk must not stop poses; what is known stays in memory.
            if not self._cannot_write:
                self._listeners.say(f"What is known about drift cannot be kept: {problem.message}")
            self._cannot_write = True
        else:
            self._cannot_write = False


_HOOK = "edgepose.device.monitor.hook_process"


def open_drift(
    choice: DriftChoice, events: EventBus, say: Callable[[str], None], opened: ExitStack
) -> DriftSink:
    """Opens it for the active version; its files were verified by who runs it.

    Raises:
        ConfigError: Nothing is installed there.
        TrustError: The state or a file is damaged.
        DeviceError: The hook's process does not start.
    """
    installed = installed_model(choice.root)
    manifest, reference, sha256 = installed.manifest, None, None
    if manifest.drift_reference is not None:
        content = (installed.folder / manifest.drift_reference).read_bytes()
        sha256 = sha256_of_bytes(content)
        reference = from_json(content, DriftReference, manifest.drift_reference, TrustError)
    listeners = DriftListeners(events, _hook(choice, opened), say)
    return DriftSink(choice.root, RunningModel(manifest, sha256), reference, listeners, choice.options)


def _hook(choice: DriftChoice, opened: ExitStack) -> Callable[[DriftEvent], None]:
    if choice.hook is None:
        return lambda _event: None
    process = FedProcess(_HOOK, [choice.hook, str(choice.root.absolute())])
    opened.callback(process.close)

    def tell(event: DriftEvent) -> None:
        process.send(to_json(event).encode() + b"\n")

    return tell
