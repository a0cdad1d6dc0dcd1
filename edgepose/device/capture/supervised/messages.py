"""What the processes of a supervised source say to each other: records of one size, through pipes. Pure.

A record is smaller than PIPE_BUF (4,096 bytes), so it is written whole or not at all, also by a process
that is killed (pipe(7)). Images never go through a pipe: a record says where in the shared memory one lies.
"""

from __future__ import annotations

import os
import select
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any, Literal

from edgepose.device.capture.source_address import SourceAddress, SourceKind
from edgepose.device.capture.supervised.supervision import CaptureLimits
from edgepose.errors import ConfigError, DeviceError, EdgeposeError, MissingDependencyError
from edgepose.records.record import Record, from_json, to_json

_MESSAGE = struct.Struct("<B3xIIIIIQqH")
MESSAGE_BYTES = 1024
TEXT_BYTES = MESSAGE_BYTES - _MESSAGE.size
_REQUEST = struct.Struct("<B3xII")
REQUEST_BYTES = _REQUEST.size


class MessageKind(IntEnum):
    """What a message says."""

    OPENED = 1
    FRAME = 2
    ENDED = 3
    FAILED = 4
    EVENT = 5
    WAITING = 6


class RequestKind(IntEnum):
    """What a request asks."""

    WANT = 1
    RELEASE = 2


@dataclass(frozen=True)
class CaptureMessage:
    """From a capture process or its supervisor to the reader.

    Attributes:
        generation: Which of the capture processes, counted from 1.
        slot: Number of the image's slot; the reader gives it back.
        dropped: Frames thrown away since the last message.
        offset: Where in the shared memory the image begins.
        timestamp_ns: When it was captured, ``time.monotonic_ns``, which is one clock for all processes.
        text: JSON of what does not fit the numbers.
    """

    kind: MessageKind
    generation: int
    slot: int = 0
    width_px: int = 0
    height_px: int = 0
    dropped: int = 0
    offset: int = 0
    timestamp_ns: int = 0
    text: bytes = b""

    def packed(self) -> bytes:
        """``MESSAGE_BYTES`` bytes.

        Raises:
            ValueError: The text is longer than ``TEXT_BYTES``.
        """
        if len(self.text) > TEXT_BYTES:
            raise ValueError(f"a message takes {TEXT_BYTES} bytes of text, not {len(self.text)}")
        head = _MESSAGE.pack(
            self.kind,
            self.generation,
            self.slot,
            self.width_px,
            self.height_px,
            min(self.dropped, 0xFFFF_FFFF),
            self.offset,
            self.timestamp_ns,
            len(self.text),
        )
        return (head + self.text).ljust(MESSAGE_BYTES, b"\0")

    @classmethod
    def unpacked(cls, data: bytes) -> CaptureMessage:
        """The reverse of ``packed``.

        Raises:
            ValueError: These bytes are no message.
        """
        if len(data) != MESSAGE_BYTES:
            raise ValueError(f"a message has {MESSAGE_BYTES} bytes, not {len(data)}")
        kind, generation, slot, width, height, dropped, offset, timestamp_ns, length = _MESSAGE.unpack_from(
            data
        )
        if length > TEXT_BYTES:
            raise ValueError(f"a message takes {TEXT_BYTES} bytes of text, not {length}")
        text = data[_MESSAGE.size : _MESSAGE.size + length]
        return cls(MessageKind(kind), generation, slot, width, height, dropped, offset, timestamp_ns, text)


@dataclass(frozen=True)
class CaptureRequest:
    """From the reader to a capture process.

    Attributes:
        kind: ``WANT`` asks for one more frame, ``RELEASE`` gives a slot back.
        generation: Which process is meant; another one ignores it.
    """

    kind: RequestKind
    generation: int
    slot: int = 0

    def packed(self) -> bytes:
        """``REQUEST_BYTES`` bytes."""
        return _REQUEST.pack(self.kind, self.generation, self.slot)

    @classmethod
    def unpacked(cls, data: bytes) -> CaptureRequest:
        """The reverse of ``packed``.

        Raises:
            ValueError: These bytes are no request.
        """
        if len(data) != REQUEST_BYTES:
            raise ValueError(f"a request has {REQUEST_BYTES} bytes, not {len(data)}")
        kind, generation, slot = _REQUEST.unpack(data)
        return cls(RequestKind(kind), generation, slot)


class RecordReader:
    """Reads records of one size."""

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
    """Writes a record whole; false where no one reads any more."""
    try:
        os.write(descriptor, record)
    except BrokenPipeError:
        return False
    return True


_FAMILIES: dict[str, type[EdgeposeError]] = {
    "config": ConfigError,
    "missing": MissingDependencyError,
    "device": DeviceError,
}
Family = Literal["config", "missing", "device"]
_CUT = 500


class CaptureTask(Record, frozen=True, kw_only=True):
    """What to open and how long to wait for it.

    It goes through a pipe: a command line, which everybody on the machine can read, would show a password.

    Attributes:
        messages: Descriptor of the pipe to the reader.
        requests: Descriptor of the pipe from the reader.
        memories: Descriptors of two shared memories, used in turns.
        lock: Whether the processes lock themselves in.
        patient: Whether to try for good.
        limits_s: The times of :class:`edgepose.device.capture.supervised.supervision.CaptureLimits` that are
            not its defaults, by name.
    """

    kind: SourceKind
    location: str
    messages: int
    requests: int
    memories: tuple[int, int]
    lock: bool = True
    patient: bool = False
    limits_s: tuple[tuple[str, float], ...] = ()

    def __repr__(self) -> str:
        return f"CaptureTask({self.address!r})"

    @property
    def address(self) -> SourceAddress:
        """The source."""
        return SourceAddress(self.kind, self.location)

    @property
    def live(self) -> bool:
        """Whether it is a camera."""
        return self.kind != "path"

    def limits(self) -> CaptureLimits:
        """The times.

        Raises:
            ConfigError: One is unknown.
        """
        known = {field.name for field in fields(CaptureLimits)} - {"restarts"}
        chosen: dict[str, Any] = dict(self.limits_s)
        if unknown := chosen.keys() - known:
            raise ConfigError(f"A capture process knows no limit '{min(unknown)}', only {sorted(known)}.")
        limits = CaptureLimits(**chosen)
        return replace(limits, give_up_s=None) if self.patient else limits


class CaptureProblem(Record, frozen=True, kw_only=True):
    """An error on its way from one process to another."""

    family: Family
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: EdgeposeError) -> CaptureProblem:
        """Makes it small enough for a message."""
        families: dict[type[EdgeposeError], Family] = {
            ConfigError: "config",
            MissingDependencyError: "missing",
        }
        return cls(
            family=families.get(type(error), "device"), message=error.message[:_CUT], hint=error.hint[:_CUT]
        )

    def error(self) -> EdgeposeError:
        """The error again."""
        return _FAMILIES[self.family](self.message, self.hint)

    def packed(self) -> bytes:
        """JSON that fits a message."""
        text = to_json(self).encode()
        if len(text) <= TEXT_BYTES:
            return text
        return to_json(CaptureProblem(family=self.family, message=self.message[: _CUT // 4])).encode()


class SourceFacts(Record, frozen=True, kw_only=True):
    """What a source says about itself; see :class:`edgepose.device.capture.frame_source.SourceInfo`."""

    fps: float | None = None
    frame_count: int | None = None


def problem_from(text: bytes) -> CaptureProblem:
    """Reads what another process packed.

    Raises:
        DeviceError: It is none.
    """
    return from_json(text, CaptureProblem, "message of a capture process", DeviceError)


@dataclass(frozen=True)
class CapturePipes:
    """What a capture process may use.

    Attributes:
        messages: Descriptor of the pipe to the reader.
        requests: Descriptor of the pipe from the reader.
        memory: Descriptor of the shared memory.
        reports: Descriptor of the pipe to the supervisor.
        supervisor: The supervisor's process.
    """

    generation: int
    messages: int
    requests: int
    memory: int
    reports: int
    supervisor: int

    def say(self, kind: MessageKind, text: bytes = b"") -> bool:
        """To the reader; false where it is gone."""
        return write_record(self.messages, CaptureMessage(kind, self.generation, text=text).packed())

    def report(self, kind: MessageKind, text: bytes = b"") -> bool:
        """To the supervisor; false where it is gone."""
        return write_record(self.reports, CaptureMessage(kind, self.generation, text=text).packed())
