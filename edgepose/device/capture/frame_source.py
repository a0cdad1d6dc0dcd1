"""The one interface to frames: a file, a folder, a camera, or a process that watches over one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.device.events import CaptureEvent


@dataclass(frozen=True)
class Frame:
    """An image with the moment at which it was captured.

    The image stays as it is for as long as something refers to it; nothing writes into it.

    Attributes:
        image: uint8 (H, W, 3), RGB.
        timestamp_ns: ``time.monotonic_ns`` when the image left the camera's driver or the decoder.
        index: Number of the frame among those that the source delivered, from 0.
        dropped_before: Frames that the source threw away since the previous delivered one, because
            no one had time for them; always 0 for files.
        events: What happened to the camera since the previous delivered frame.
    """

    image: NDArray[np.uint8]
    timestamp_ns: int
    index: int
    dropped_before: int = 0
    events: tuple[CaptureEvent, ...] = ()

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


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
        """Whether frames follow each other in time; images of a folder do not."""
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
        """Waits for the next frame.

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


def _references(buffers: list[NDArray[np.uint8]]) -> list[int]:
    return [sys.getrefcount(buffer) for buffer in buffers]


# Of an array that only its list holds. How many the call itself adds differs between versions of Python.
_ONLY_THE_LIST = _references([np.empty(0, np.uint8)])[0]


class ImageBuffers:
    """Hands out arrays; one that was handed out comes back by itself when the last reference to it goes.

    A new 8 MB image a frame would cost page faults, and a copy for who keeps a frame as much again. One
    thread takes buffers; anybody may hold them.
    """

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array whose content is arbitrary; buffers of another shape are given up."""
        if self._buffers and self._buffers[0].shape != shape:
            self._buffers = []
        # A view counts as well: it refers to the array that owns the memory.
        for index, references in enumerate(_references(self._buffers)):
            if references <= _ONLY_THE_LIST:
                return self._buffers[index]
        self._buffers.append(np.empty(shape, np.uint8))
        return self._buffers[-1]


class ImageMemory(Protocol):
    """Hands out memory for pictures: of this process, or shared with the one that looks at them."""

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """A (H, W, 3) array whose content is arbitrary."""
        ...
