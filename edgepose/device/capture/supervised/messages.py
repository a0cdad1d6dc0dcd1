"""What the processes of a supervised source say to each other: records of one size, through pipes. Pure.

A record is smaller than PIPE_BUF (4,096 bytes), so it is written whole or not at all, also by a process
that is killed (pipe(7)). Pictures never go through a pipe: a record says where in the shared memory one lies.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

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
    """From a capture process or its keeper to the reader.

    Attributes:
        kind: What it says.
        incarnation: Which of the capture processes, counted from 1.
        slot: Number of the picture's slot; the reader gives it back.
        width_px: Of the picture.
        height_px: Of the picture.
        dropped: Frames thrown away since the last message.
        offset: Where in the shared memory the picture begins.
        timestamp_ns: When it was captured, ``time.monotonic_ns``, which is one clock for all processes.
        text: JSON of what does not fit the numbers.
    """

    kind: MessageKind
    incarnation: int
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
            self.incarnation,
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
        kind, incarnation, slot, width, height, dropped, offset, timestamp_ns, length = _MESSAGE.unpack_from(
            data
        )
        if length > TEXT_BYTES:
            raise ValueError(f"a message takes {TEXT_BYTES} bytes of text, not {length}")
        text = data[_MESSAGE.size : _MESSAGE.size + length]
        return cls(MessageKind(kind), incarnation, slot, width, height, dropped, offset, timestamp_ns, text)


@dataclass(frozen=True)
class CaptureRequest:
    """From the reader to a capture process.

    Attributes:
        kind: ``WANT`` asks for one more frame, ``RELEASE`` gives a slot back.
        incarnation: Which process is meant; another one ignores it.
        slot: The slot that is given back.
    """

    kind: RequestKind
    incarnation: int
    slot: int = 0

    def packed(self) -> bytes:
        """``REQUEST_BYTES`` bytes."""
        return _REQUEST.pack(self.kind, self.incarnation, self.slot)

    @classmethod
    def unpacked(cls, data: bytes) -> CaptureRequest:
        """The reverse of ``packed``.

        Raises:
            ValueError: These bytes are no request.
        """
        if len(data) != REQUEST_BYTES:
            raise ValueError(f"a request has {REQUEST_BYTES} bytes, not {len(data)}")
        kind, incarnation, slot = _REQUEST.unpack(data)
        return cls(RequestKind(kind), incarnation, slot)
