"""Pictures in memory that two processes see: one copy, made by whoever decodes them."""

from __future__ import annotations

import ctypes
import mmap
import os
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.supervised.slot_table import Slot, SlotTable

# The reader holds one in the models, one that waits for them and one in the outputs; one is being filled.
_SLOTS = 6


class WrittenPictures:
    """The writer's side: sources take their pictures' memory from here.

    Args:
        descriptor: The shared memory; it grows with the pictures.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._table = SlotTable(_SLOTS)
        self._map: mmap.mmap | None = None
        self._slot: Slot | None = None
        self._picture: NDArray[np.uint8] | None = None

    @property
    def has_room(self) -> bool:
        """Whether a further picture can be written."""
        return self._slot is not None or self._table.has_room

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Memory for the next picture; see :class:`edgepose.device.capture.picture_memory.PictureMemory`.

        Raises:
            ValueError: The reader holds all slots.
        """
        size = int(np.prod(shape))
        if self._slot is not None and self._slot.capacity < size:
            self._table.release(self._slot.number)
            self._slot = None
        if self._slot is None:
            self._slot = self._table.take(size)
        self._picture = np.frombuffer(self._mapped(), np.uint8, size, self._slot.offset).reshape(shape)
        return self._picture

    def granted(self, image: NDArray[np.uint8]) -> Slot:
        """Gives the reader a picture; a picture that lies elsewhere is copied here first.

        Args:
            image: uint8 (H, W, 3) RGB, as a source delivered it.

        Raises:
            ValueError: The reader holds all slots.
        """
        if image is not self._picture:
            np.copyto(self.take(image.shape), image)
        slot = self._slot
        if slot is None:
            raise ValueError("no slot was taken")
        self._slot = self._picture = None
        return slot

    def release(self, number: int) -> None:
        """Takes back what the reader does not need any more."""
        self._table.release(number)

    def _mapped(self) -> mmap.mmap:
        end = self._table.end
        if self._map is None or len(self._map) < end:
            if os.fstat(self._descriptor).st_size < end:
                os.ftruncate(self._descriptor, end)
            self._map = mmap.mmap(self._descriptor, end)
        return self._map


class ReadPictures:
    """The reader's side.

    Args:
        descriptor: The shared memory.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None
        # A set: arrays come and go in several threads, and its methods are atomic.
        self._held: set[int] = set()
        self._count = 0

    @property
    def held(self) -> int:
        """How many pictures somebody in this process still looks at."""
        return len(self._held)

    def picture(
        self, offset: int, shape: tuple[int, int, int], released: Callable[[], None]
    ) -> NDArray[np.uint8]:
        """A picture as it lies in the shared memory; nothing is copied and nobody can write into it.

        Args:
            offset: Where it begins.
            shape: (H, W, 3).
            released: Called, in any thread, once no array refers to it any more.

        Raises:
            ValueError: The memory ends before the picture does.
        """
        size = shape[0] * shape[1] * shape[2]
        # A ctypes array can be watched; numpy's own views let their base go unseen.
        memory = (ctypes.c_uint8 * size).from_buffer(self._mapped(offset + size), offset)
        self._count += 1
        self._held.add(self._count)
        weakref.finalize(memory, self._release, self._count, released).atexit = False
        picture = np.frombuffer(memoryview(memory), np.uint8).reshape(shape)
        picture.flags.writeable = False
        return picture

    def forget(self) -> None:
        """Lets go of the memory; pictures that are held stay."""
        self._map = None

    def _release(self, number: int, released: Callable[[], None]) -> None:
        self._held.discard(number)
        released()

    def _mapped(self, end: int) -> mmap.mmap:
        if self._map is None or len(self._map) < end:
            size = os.fstat(self._descriptor).st_size
            if size < end:
                raise ValueError(f"the shared memory has {size} bytes, the picture ends at {end}")
            # ctypes takes no map that is read-only. What would be written into this one, nobody else sees.
            self._map = mmap.mmap(self._descriptor, size, access=mmap.ACCESS_COPY)
        return self._map
