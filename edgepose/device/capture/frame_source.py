"""The one interface to frames: a file, a folder, a camera, or a process that watches over one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgepose.device.capture.frame import Frame


@dataclass(frozen=True)
class SourceInfo:
    """What a source says about itself before the first frame.

    Attributes:
        name: For people; never holds a password.
        live: Whether frames that come too fast are dropped; otherwise every frame is delivered.
        fps: Frames per second of the recording or the camera, or None where there is no rate.
        frame_count: Number of frames that will come, or None where that is not known.
    """

    name: str
    live: bool
    fps: float | None = None
    frame_count: int | None = None

    @property
    def is_stream(self) -> bool:
        """Whether frames follow each other in time; pictures of a folder do not."""
        return self.live or self.fps is not None


class FrameSource(Protocol):
    """Delivers frames one after the other to one thread."""

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame."""
        ...

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        ...

    def read(self, wait_s: float) -> Frame | None:
        """Waits for the next frame; the previous one's memory may be used for it.

        Args:
            wait_s: A live source returns after about this time also when it has none, so that the
                caller can look at its stop signal. Files take as long as decoding takes.

        Returns:
            The frame, or None: nothing came in time, or the source has ended.

        Raises:
            ConfigError: A file is damaged.
            DeviceError: A camera failed or went silent.
        """
        ...

    def close(self) -> None:
        """Releases the file or the device; closing twice is harmless."""
        ...
