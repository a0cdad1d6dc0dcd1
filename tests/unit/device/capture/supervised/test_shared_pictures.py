"""Shared memory: what one side writes the other sees, without a copy, for as long as it looks."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from edgepose.device.capture.supervised.shared_images import ReadImages, WrittenImages
from edgepose.device.capture.supervised.supervisor import shared_memory

_SHAPE = (48, 64, 3)


@pytest.fixture(name="descriptor")
def _descriptor() -> Iterator[int]:
    descriptor = shared_memory()
    yield descriptor
    os.close(descriptor)


def _picture(level: int, shape: tuple[int, int, int] = _SHAPE) -> np.ndarray:
    return np.full(shape, level, np.uint8)


def test_a_picture_written_into_its_slot_is_seen_by_the_reader(descriptor: int) -> None:
    written, read = WrittenImages(descriptor), ReadImages(descriptor)
    memory = written.take(_SHAPE)
    memory[:] = 7
    slot = written.granted(memory)
    picture = read.picture(slot.offset, _SHAPE, lambda: None)
    assert np.array_equal(picture, _picture(7))
    # The same bytes: nothing was copied on the way.
    memory[0, 0] = 9
    assert picture[0, 0, 0] == 9


def test_a_picture_from_elsewhere_is_copied_in(descriptor: int) -> None:
    written, read = WrittenImages(descriptor), ReadImages(descriptor)
    slot = written.granted(_picture(3))
    assert np.array_equal(read.picture(slot.offset, _SHAPE, lambda: None), _picture(3))


def test_nobody_writes_into_what_is_read(descriptor: int) -> None:
    written, read = WrittenImages(descriptor), ReadImages(descriptor)
    picture = read.picture(written.granted(_picture(3)).offset, _SHAPE, lambda: None)
    with pytest.raises(ValueError, match="read-only"):
        picture[0] = 0


def test_a_slot_comes_back_when_the_last_view_of_its_picture_is_gone(descriptor: int) -> None:
    written, read = WrittenImages(descriptor), ReadImages(descriptor)
    released: list[int] = []
    picture = read.picture(written.granted(_picture(3)).offset, _SHAPE, lambda: released.append(1))
    corner = picture[4:8, 4:8][::-1]
    del picture
    assert not released
    assert read.held == 1
    del corner
    assert released == [1]
    assert read.held == 0


def test_a_larger_picture_grows_the_memory_and_older_ones_stay_seen(descriptor: int) -> None:
    written, read = WrittenImages(descriptor), ReadImages(descriptor)
    small = read.picture(written.granted(_picture(1)).offset, _SHAPE, lambda: None)
    large_shape = (480, 640, 3)
    slot = written.granted(_picture(2, large_shape))
    large = read.picture(slot.offset, large_shape, lambda: None)
    assert int(small.min()) == int(small.max()) == 1
    assert int(large.min()) == int(large.max()) == 2


def test_a_picture_beyond_the_memory_is_refused_and_not_read(descriptor: int) -> None:
    WrittenImages(descriptor).granted(_picture(1))
    with pytest.raises(ValueError, match="the picture ends at"):
        ReadImages(descriptor).picture(1 << 30, _SHAPE, lambda: None)


def test_the_memory_never_shrinks_under_its_reader(descriptor: int) -> None:
    WrittenImages(descriptor).granted(_picture(1))
    # Whoever shrinks it would end the reader with SIGBUS.
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 0)
