"""The one interface to outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgepose.device.capture.frame import Frame
from edgepose.pose.poses import Poses


@dataclass(frozen=True)
class FrameResult:
    """What is known about one frame.

    Attributes:
        frame: The picture; its memory is only valid until the source's next read.
        poses: The reported persons, with track ids.
        latency_ms: From the capture of the frame to its poses.
    """

    frame: Frame
    poses: Poses
    latency_ms: float


class PoseSink(Protocol):
    """Takes the results of one run, frame by frame."""

    def write(self, result: FrameResult) -> None:
        """Takes one frame; nothing of ``result.frame`` is kept afterwards.

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
