"""One picture from a source."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.capture_event import CaptureEvent


@dataclass(frozen=True)
class Frame:
    """A picture with the moment at which it was captured.

    The source owns the memory of ``image`` and may fill it again at its next ``read`` unless the frame is
    ``lasting``: whoever keeps another one for longer copies it, and nobody writes into it.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        timestamp_ns: ``time.monotonic_ns`` when the picture left the camera's driver or the decoder.
        index: Number of the frame among those that the source delivered, from 0.
        dropped_before: Frames that the source threw away since the previous delivered one, because
            nobody had time for them; always 0 for files.
        lasting: The picture stays as it is for as long as somebody holds the frame.
        events: What happened to the camera since the previous delivered frame.
    """

    image: NDArray[np.uint8]
    timestamp_ns: int
    index: int
    dropped_before: int = 0
    lasting: bool = False
    events: tuple[CaptureEvent, ...] = ()

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]
