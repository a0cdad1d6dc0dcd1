"""Pictures that outlive the source's next read, in a few buffers that are used again and again."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.frame import Frame

_BUFFERS = 6


class FrameCopies:
    """Copies pictures into its buffers; a new 8 MB picture a frame would cost page faults.

    One thread keeps, any other may release.
    """

    def __init__(self) -> None:
        self._free: list[NDArray[np.uint8]] = []
        self._lent: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def kept(self, frame: Frame) -> Frame:
        """A frame that stays as it is until it is released; one that lasts anyway is not copied."""
        if frame.lasting:
            return frame
        buffer = self._buffer(frame.image.shape)
        np.copyto(buffer, frame.image)
        return replace(frame, image=buffer, lasting=True)

    def release(self, frame: Frame) -> None:
        """The frame's memory may be used again."""
        with self._lock:
            buffer = self._lent.pop(id(frame.image), None)
            if buffer is not None and len(self._free) < _BUFFERS:
                self._free.append(buffer)

    def _buffer(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        with self._lock:
            # Buffers of another size are of no more use: the source changed its mind.
            self._free = [buffer for buffer in self._free if buffer.shape == shape]
            buffer = self._free.pop() if self._free else np.empty(shape, np.uint8)
            self._lent[id(buffer)] = buffer
        return buffer
