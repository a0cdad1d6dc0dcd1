"""Images in memory that two processes see: one copy, made by the one that decodes them.

A camera's unit is met in a folder: two named pipes a reader, and two files of images.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.messages import MESSAGE_BYTES, RecordReader, write_record
from edgepose.errors import DeviceError

_PAGE_BYTES = 4096


@dataclass(frozen=True)
class Slot:
    """Room for one image.

    Attributes:
        offset: Where it begins, in bytes.
        capacity: How many bytes it has.
    """

    number: int
    offset: int
    capacity: int


class SlotTable:
    """Gives each image a slot of its own until the reader gives it back.

    An image that needs more than its slot has gets new room at the end; sizes that change back and forth
    therefore end at the largest.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._free: list[Slot] = []
        self._held: dict[int, Slot] = {}
        self._numbers = 0
        self.end = 0

    @property
    def has_room(self) -> bool:
        """Whether ``take`` would succeed."""
        return len(self._held) < self._limit

    def take(self, size: int) -> Slot:
        """A slot for an image of ``size`` bytes, which no one else writes or reads.

        Raises:
            ValueError: All slots are held.
        """
        if not self.has_room:
            raise ValueError(f"all {self._limit} slots are held")
        fitting = [slot for slot in self._free if slot.capacity >= size]
        if fitting:
            slot = fitting[0]
            self._free.remove(slot)
        else:
            # What is too small is given up for good: images of a camera all have one size.
            self._free.clear()
            slot = Slot(self._numbers, self.end, -(-size // _PAGE_BYTES) * _PAGE_BYTES)
            self._numbers += 1
            self.end += slot.capacity
        self._held[slot.number] = slot
        return slot

    def release(self, number: int) -> None:
        """Takes a slot back; one that is not held is ignored."""
        slot = self._held.pop(number, None)
        if slot is not None:
            self._free.append(slot)


# The reader holds one in the models, one that waits for them and one in the outputs; one is being filled.
_SLOTS = 6


class WrittenImages:
    """The writer's side: sources take their images' memory from here; it grows with the images."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._table = SlotTable(_SLOTS)
        self._map: mmap.mmap | None = None
        self._slot: Slot | None = None
        self._picture: NDArray[np.uint8] | None = None

    @property
    def has_room(self) -> bool:
        """Whether a further image can be written."""
        return self._slot is not None or self._table.has_room

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """Memory for the next image; see :class:`edgepose.device.capture.frame_source.ImageMemory`.

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
        """Gives the reader a uint8 (H, W, 3) RGB image; one that lies elsewhere is copied here first.

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


class ReadImages:
    """The reader's side."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._map: mmap.mmap | None = None
        # A set: arrays come and go in several threads, and its methods are atomic.
        self._held: set[int] = set()
        self._count = 0

    @property
    def held(self) -> int:
        """How many images someone in this process still looks at."""
        return len(self._held)

    def picture(
        self, offset: int, shape: tuple[int, int, int], released: Callable[[], None]
    ) -> NDArray[np.uint8]:
        """An image as it lies in the shared memory; nothing is copied and no one can write into it.

        Args:
            offset: Where it begins.
            shape: (H, W, 3).
            released: Called, in any thread, once no array refers to it any more.

        Raises:
            ValueError: The memory ends before the image does.
        """
        size = shape[0] * shape[1] * shape[2]
        # A ctypes array can be watched; numpy's own views let their base go unseen.
        memory = (ctypes.c_uint8 * size).from_buffer(self._mapped(offset + size), offset)
        self._count += 1
        self._held.add(self._count)
        weakref.finalize(memory, self._release, self._count, released).atexit = False
        image = np.frombuffer(memoryview(memory), np.uint8).reshape(shape)
        image.flags.writeable = False
        return image

    def forget(self) -> None:
        """Lets go of the memory; images that are held stay."""
        self._map = None

    def _release(self, number: int, released: Callable[[], None]) -> None:
        self._held.discard(number)
        released()

    def _mapped(self, end: int) -> mmap.mmap:
        if self._map is None or len(self._map) < end:
            size = os.fstat(self._descriptor).st_size
            if size < end:
                raise ValueError(f"the shared memory has {size} bytes, the picture ends at {end}")
            # ctypes takes no map that is read-only. What would be written into this one, no one else sees.
            self._map = mmap.mmap(self._descriptor, size, access=mmap.ACCESS_COPY)
        return self._map


MESSAGES, REQUESTS = "messages", "requests"
PICTURES = ("pictures0", "pictures1")
_TRY_EVERY_S = 0.5
# systemd makes the folder first and gives it to the user then.
_DENIED_LIMIT_S = 5.0


class SharedFolder:
    """Waits for a camera's unit, as often as that is started; see
    :class:`edgepose.device.capture.supervised.supervised_source.CaptureLink`.

    No socket is used, so a process that is locked in can meet it again.

    Args:
        address: ``shared://FOLDER``.
    """  # noqa: D205

    supervisor_pid = 0

    def __init__(self, address: SourceAddress) -> None:
        self._folder, self._name = Path(address.location), address.shown
        self._own: list[int] = []
        self._requests = -1
        self._tried_s = 0.0
        self._denied_s: float | None = None
        self._closed = False
        self.messages: RecordReader = _Nothing()
        self.pictures = (ReadImages(-1), ReadImages(-1))
        self._meet()

    def send(self, request: bytes) -> None:
        """Sends a request; a camera that is gone needs none."""
        if self._own:
            with suppress(BlockingIOError):
                write_record(self._requests, request)

    def lost(self, *, silent: bool) -> DeviceError | None:
        """The camera's unit may be started again, so the end of it is none here."""
        del silent
        self._leave()
        # Who waits asks again and again.
        time.sleep(max(0.0, min(_TRY_EVERY_S, self._tried_s + _TRY_EVERY_S - time.monotonic())))
        try:
            self._meet()
        except DeviceError as problem:
            return problem
        return None

    def close(self) -> None:
        """Leaves the folder; the camera's unit then closes its camera."""
        self._closed = True
        self._leave()

    def _leave(self) -> None:
        own, self._own = self._own, []
        for descriptor in own:
            os.close(descriptor)
        self.messages = _Nothing()

    def _meet(self) -> None:
        self._tried_s = time.monotonic()
        own: list[int] = []
        try:
            # One reader at a time; the pipes are made anew for each, these files are not. Opened once more:
            # an image that someone still holds keeps what it was mapped by.
            own.append(os.open(self._folder / PICTURES[0], os.O_RDONLY | os.O_CLOEXEC))
            fcntl.flock(own[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            own += [os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC) for name in PICTURES]
            # No pipes: a reader before this one has just left, and the unit has not seen it yet.
            own.append(os.open(self._folder / MESSAGES, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            # No one there: ENXIO.
            own.append(os.open(self._folder / REQUESTS, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as problem:
            for descriptor in own:
                os.close(descriptor)
            if self._is_yet_to_come(problem):
                return
            why = "another program reads it" if isinstance(problem, BlockingIOError) else problem.strerror
            raise DeviceError(f"Cannot read the camera at {self._name}: {why}.") from problem
        self._denied_s = None
        self._own, self._requests = own, own[4]
        self.messages = RecordReader(own[3], MESSAGE_BYTES)
        self.pictures = (ReadImages(own[1]), ReadImages(own[2]))

    def _is_yet_to_come(self, problem: OSError) -> bool:
        if problem.errno != errno.EACCES:
            self._denied_s = None
            return problem.errno in {errno.ENOENT, errno.ENXIO}
        self._denied_s = self._tried_s if self._denied_s is None else self._denied_s
        return self._tried_s - self._denied_s < _DENIED_LIMIT_S


class _Nothing(RecordReader):
    """A pipe that is not there yet: it has ended, and waiting for it takes time."""

    def __init__(self) -> None:
        self.ended = True

    def wait(self, limit_s: float) -> bool:
        time.sleep(min(max(limit_s, 0.0), _TRY_EVERY_S))
        return False

    def next(self) -> bytes | None:
        return None
