"""Records through a pipe, in both directions."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from contextlib import suppress


class RecordReader:
    """Reads records of one size.

    Args:
        descriptor: The reading end.
        size: Bytes of a record.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor, self._size = descriptor, size
        self.ended = False

    def wait(self, limit_s: float) -> bool:
        """Whether something can be read within so many seconds, or the pipe has ended."""
        return bool(select.select([self._descriptor], [], [], max(limit_s, 0.0))[0])

    def records(self) -> Iterator[bytes]:
        """What is there now, without waiting."""
        while (record := self.next()) is not None:
            yield record

    def next(self) -> bytes | None:
        """The next record; None where there is none now."""
        with suppress(BlockingIOError):
            # Records are written whole, so they are also read whole.
            record = os.read(self._descriptor, self._size)
            if record:
                return record
            self.ended = True
        return None


def write_record(descriptor: int, record: bytes) -> bool:
    """Writes a record whole.

    Returns:
        False where nobody reads any more.
    """
    try:
        os.write(descriptor, record)
    except BrokenPipeError:
        return False
    return True
