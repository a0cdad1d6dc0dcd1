"""Memory for pictures that is used again as soon as nobody holds it any more."""

from __future__ import annotations

import sys

import numpy as np
from numpy.typing import NDArray


def _references(buffers: list[NDArray[np.uint8]]) -> list[int]:
    return [sys.getrefcount(buffer) for buffer in buffers]


# Of an array that only its list holds. How many the call itself adds differs between versions of Python.
_ONLY_THE_LIST = _references([np.empty(0, np.uint8)])[0]


class PictureBuffers:
    """Hands out arrays; one that was handed out comes back by itself when the last reference to it goes.

    A new 8 MB picture a frame would cost page faults, and a copy for whoever keeps a frame as much again. One
    thread takes buffers; anybody may hold them.
    """

    def __init__(self) -> None:
        self._buffers: list[NDArray[np.uint8]] = []

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array whose content is arbitrary.

        Args:
            shape: Its shape; buffers of another one are given up.
        """
        if self._buffers and self._buffers[0].shape != shape:
            self._buffers = []
        # A view counts as well: it refers to the array that owns the memory.
        for index, references in enumerate(_references(self._buffers)):
            if references <= _ONLY_THE_LIST:
                return self._buffers[index]
        self._buffers.append(np.empty(shape, np.uint8))
        return self._buffers[-1]
