"""The one interface to outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgepose.device.capture.frame import Frame
from edgepose.device.pipelining.input_pacing import RateChange
from edgepose.inference.stage_timer import Stage
from edgepose.pose.poses import Poses


@dataclass(frozen=True)
class FrameResult:
    """What is known about one frame.

    Attributes:
        frame: The picture; its memory is only valid until ``write`` returns.
        poses: The reported persons, with track ids, smoothed where the run smooths.
        latency_ms: From the capture of the frame to its poses.
        stages_ms: Time of each stage; a detector that was not asked took 0.
        scene_time_ns: When the scene looked like this: the capture time of a live frame, a file's media time.
        measured: The same persons as the model saw them; None where nothing was smoothed.
        rate_changes: What was decided about the input rate since the last result.
    """

    frame: Frame
    poses: Poses
    latency_ms: float
    stages_ms: Mapping[Stage, float] = field(default_factory=dict)
    scene_time_ns: int = 0
    measured: Poses | None = None
    rate_changes: tuple[RateChange, ...] = ()

    @property
    def unsmoothed(self) -> Poses:
        """The persons as the model saw them: what drift and jitter are measured on."""
        return self.poses if self.measured is None else self.measured


class PoseSink(Protocol):
    """Takes the results of one run, frame by frame."""

    def write(self, result: FrameResult) -> None:
        """Takes one frame; nothing of ``result.frame`` is kept afterwards.

        A run calls it from one thread only, which is not the one that opens and closes the sink.

        Raises:
            EdgeposeError: The output cannot be written.
        """
        ...

    def close(self, *, complete: bool) -> None:
        """Finishes the output; closing twice is harmless.

        Args:
            complete: False when the run failed: an output that is only useful whole is then removed.

        Raises:
            EdgeposeError: The output cannot be finished.
        """
        ...
