"""The loop: batches in, checkpoints, log and figures out, from wherever it was stopped.

The rate warms up, then follows half a cosine. The student is measured by the pipeline and the scoring of
``edgepose evaluate``.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset
from edgepose.host.distill.batches import Batches
from edgepose.host.distill.checkpoints import Checkpoint, CheckpointFolder
from edgepose.host.distill.peers import Alone, Peers, undistributed
from edgepose.host.distill.request import DistillationRequest, Observers
from edgepose.host.distill.trainer import KerasBackend, Trainer
from edgepose.host.evaluate.figures import PCK_NAME, evaluation_weights, overall_figures
from edgepose.host.evaluate.predictions import predict
from edgepose.host.evaluate.scoring import score
from edgepose.records.files import open_appending, write_whole
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.pipeline import PosePipeline
from edgepose.trust.digests import sha256_of_list


class MetricsLog:
    """Appends lines; on resume the lines after the checkpoint are dropped first."""

    def __init__(self, path: Path, first_step: int = 0) -> None:
        self._path = path
        self._guarded(lambda: self._keep_before(first_step))

    def write(self, step: int, **figures: Any) -> None:
        """Appends one line.

        Raises:
            ConfigError: The file cannot be written.
        """
        line = msgspec.json.encode({"step": step, **figures}) + b"\n"

        def append() -> None:
            with os.fdopen(open_appending(self._path), "wb") as stream:
                stream.write(line)

        self._guarded(append)

    def last(self, name: str) -> float | None:
        """The newest figure of this name; None without any."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        found = (msgspec.json.decode(line).get(name) for line in reversed(lines))
        return next((float(value) for value in found if value is not None), None)

    def _keep_before(self, first_step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                step = msgspec.json.decode(line)["step"]
            except (msgspec.DecodeError, KeyError, TypeError):
                # A line that a kill cut short.
                continue
            if step <= first_step and first_step > 0:
                kept.append(line)
        write_whole(self._path, kept)

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except OSError as problem:
            raise ConfigError(f"Cannot write {self._path}: {problem.strerror}.") from problem


class SilentLog:
    """The log of a process that does not lead."""

    def write(self, step: int, **figures: Any) -> None:
        """Writes nothing."""

    def last(self, name: str) -> float | None:
        """Knows nothing."""


_WARM_UP = 0.03
_LAST = 0.005


def learning_rate(progress: float, peak: float) -> float:
    """The rate at a point of the run (Loshchilov and Hutter 2017, with a linear warm-up)."""
    if progress < _WARM_UP:
        return peak * (0.01 + 0.99 * progress / _WARM_UP)
    done = min((progress - _WARM_UP) / (1 - _WARM_UP), 1.0)
    return peak * (_LAST + (1 - _LAST) * (1 + math.cos(math.pi * done)) / 2)


_NAMES = ("oks_ap", "oks_ap50", "oks_ap75", PCK_NAME)


def validate(student: Any, spec: ModelSpec, dataset: CocoDataset) -> dict[str, float | None]:
    """AP and PCK with the labels' boxes; None where a figure cannot be measured.

    Raises:
        ConfigError: An image is not readable or not the one that was labelled.
        ModelError: The student gives values that are not finite.
    """
    return pipeline_figures(PosePipeline(KerasBackend(student), spec), dataset)


def pipeline_figures(pipeline: PosePipeline, dataset: CocoDataset) -> dict[str, float | None]:
    """AP and PCK of any model; see ``validate``."""
    scores = score(predict(pipeline, dataset), dataset, {})
    figures = overall_figures(scores, evaluation_weights(len(dataset.images), 0, 0))
    values = {name: float(figures[name].values[0]) for name in _NAMES}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


Say = Callable[[str], None]
Progress = Callable[[int, int], None]
EndedBy = Literal["steps", "time_limit"]

_LOGGED_EVERY = 50


@dataclass(frozen=True)
class LoopSettings:
    """How long, and how often to look up.

    Attributes:
        time_limit_s: Training time after which the run ends early, its schedule compressed; None: never.
        checkpoint_every_s: Seconds between checkpoints.
        checkpoint_every: Steps between checkpoints, on top; None leaves it to the clock.
    """

    steps: int
    peak_rate: float
    time_limit_s: float | None = None
    checkpoint_every_s: float = 120.0
    checkpoint_every: int | None = None
    validate_every: int = 1000


@dataclass(frozen=True)
class Watchers:
    """Who is told what."""

    say: Say = field(default=lambda _line: None)
    progress: Progress = field(default=lambda _done, _total: None)


class Validates(Protocol):
    """What a training loop measures its student by."""

    def figures(self, student: Any) -> dict[str, float | None]:
        """Figures of a float32 student, by name; None where one cannot be measured."""
        ...


@dataclass(frozen=True, eq=False)
class Validation:
    """Labelled images to validate on, with the spec that the student will have."""

    dataset: CocoDataset
    spec: ModelSpec

    def figures(self, student: Any) -> dict[str, float | None]:
        """See ``Validates``."""
        return validate(student, self.spec, self.dataset)


@dataclass(frozen=True)
class TrainingOutcome:
    """How a run ended.

    Attributes:
        seconds: Training time, all sessions together.
        loss: Mean loss of the last steps.
        resumed_from: Step of the checkpoint that it went on from; None for an unbroken run.
    """

    steps: int
    seconds: float
    loss: float
    ended_by: EndedBy
    resumed_from: int | None


class TrainingLoop:
    """Runs a trainer to its end; the folder gets log and checkpoints, good for their fingerprint alone."""

    def __init__(
        self,
        trainer: Trainer,
        batches: Batches,
        settings: LoopSettings,
        fingerprint: dict[str, Any],
        folder: Path,
        watchers: Watchers,
    ) -> None:
        self._trainer, self._batches, self._settings = trainer, batches, settings
        self._fingerprint, self._watchers = fingerprint, watchers
        self._checkpoints = CheckpointFolder(folder / "checkpoints")
        self._log_path = folder / "metrics.jsonl"
        self._before_s = 0.0
        self._start_ns = 0
        self._agreed_s = 0.0
        self._losses: list[float] = []
        self._loss_before = 0.0
        self._peers: Peers = Alone()

    def run(self, validation: Validates | None = None, peers: Peers | None = None) -> TrainingOutcome:
        """Trains to the end, from the last checkpoint where there is one; all of the peers call this.

        Raises:
            ConfigError: A checkpoint or the log cannot be written, or belongs to another run, or another
                process was started with other data or options.
            ModelError: Training diverged.
        """
        self._peers = peers or self._peers
        run = [f"{self._fingerprint}", f"{asdict(self._settings)}", f"{validation is None}"]
        self._peers.require_agreement(sha256_of_list(run))
        first = self._resume()
        log = MetricsLog(self._log_path, first) if self._leads else SilentLog()
        self._loss_before = log.last("loss") or 0.0
        settings, step = self._settings, first
        self._start_ns = time.monotonic_ns()
        stream = self._batches.stream(first)
        saved_s = self._elapsed_s()
        try:
            while step < settings.steps and not self._out_of_time():
                rate = learning_rate(self._progress(step), settings.peak_rate)
                self._losses.append(self._trainer.step(next(stream), rate))
                step += 1
                self._report(step, rate, log)
                if validation is not None and step % settings.validate_every == 0:
                    self._validate(step, validation, log)
                if self._checkpoint_is_due(step, saved_s):
                    self._save(step)
                    saved_s = self._elapsed_s()
        finally:
            stream.close()  # type: ignore[attr-defined]
        if step > first:
            self._save(step)
        ended: EndedBy = "steps" if step >= settings.steps else "time_limit"
        return TrainingOutcome(step, self._elapsed_s(), self._mean_loss(), ended, first or None)

    @property
    def _leads(self) -> bool:
        return self._peers.rank == 0

    def _resume(self) -> int:
        found, notes = None, list[str]()
        if self._leads:
            found, notes = self._checkpoints.load_latest(self._fingerprint)
        for note in notes:
            self._watchers.say(note)
        step = int(self._peers.of_leader(0 if found is None else found.step))
        if step == 0:
            return 0
        arrays = self._trainer.arrays() if found is None else found.arrays
        self._trainer.restore(self._peers.arrays_of_leader(arrays))
        self._before_s = self._peers.of_leader(0.0 if found is None else found.elapsed_s)
        self._watchers.say(f"going on from step {step}")
        return step

    def _save(self, step: int) -> None:
        if not self._leads:
            return
        state = self._trainer.arrays()
        self._checkpoints.save(Checkpoint(step, self._elapsed_s(), self._fingerprint, state))

    def _checkpoint_is_due(self, step: int, saved_s: float) -> bool:
        every = self._settings.checkpoint_every
        by_clock = self._elapsed_s() - saved_s >= self._settings.checkpoint_every_s
        return by_clock or (every is not None and step % every == 0)

    def _elapsed_s(self) -> float:
        return self._before_s + (time.monotonic_ns() - self._start_ns) / 1e9 if self._start_ns else 0.0

    def _out_of_time(self) -> bool:
        limit = self._settings.time_limit_s
        if limit is None:
            return False
        # One clock decides for all processes.
        self._agreed_s = self._peers.of_leader(self._elapsed_s())
        return self._agreed_s >= limit

    def _progress(self, step: int) -> float:
        """By steps alone the rate is exactly repeatable; a time limit may run ahead of them."""
        limit = self._settings.time_limit_s
        by_time = 0.0 if limit is None else self._agreed_s / limit
        return max(step / self._settings.steps, by_time)

    def _report(self, step: int, rate: float, log: MetricsLog | SilentLog) -> None:
        self._watchers.progress(step, self._settings.steps)
        if step % _LOGGED_EVERY == 0 or step == self._settings.steps:
            log.write(step, loss=self._mean_loss(), learning_rate=rate, seconds=self._elapsed_s())

    def _mean_loss(self) -> float:
        last = self._losses[-_LOGGED_EVERY:]
        return sum(last) / len(last) if last else self._loss_before

    def _validate(self, step: int, validation: Validates, log: MetricsLog | SilentLog) -> None:
        student = self._trainer.averaged_student()
        if not self._leads:
            return
        with undistributed():
            figures = validation.figures(student)
        log.write(step, seconds=self._elapsed_s(), validation=figures)
        shown = ", ".join(f"{name} {value:.3f}" for name, value in figures.items() if value is not None)
        minutes = self._elapsed_s() / 60
        self._watchers.say(f"step {step}, {minutes:.1f} min, loss {self._mean_loss():.3f}: {shown}")


def requested_loop(
    request: DistillationRequest,
    steps: int,
    trainer: Trainer,
    batches: Batches,
    fingerprint: dict[str, Any],
    observers: Observers,
) -> TrainingLoop:
    """The loop of a distillation, which writes to its output folder."""
    settings = LoopSettings(
        steps=steps,
        peak_rate=request.learning_rate,
        time_limit_s=request.time_limit_s,
        checkpoint_every=request.checkpoint_every,
        validate_every=request.validate_every,
    )
    watchers = Watchers(observers.say, observers.training)
    return TrainingLoop(trainer, batches, settings, fingerprint, request.output, watchers)
