"""Reads flatbuffers within their bytes: every offset, table and vector is checked before it is followed.

The layout is that of FlatBuffers' "internals" page: an offset counts from where it stands, a table begins
with the distance back to its vtable, a vector and a text with their length. What is read is counted, so that
tables that share their parts cannot make a small file endless.

The wire format of protobuf, enough to walk a message without its schema's library (protobuf.dev).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

# Bytes of vectors that are read, for each byte of the file: real files share a few.
_READ_SHARE = 8
_MOST_TABLES = 4_000_000


class DamagedFlatbufferError(ValueError):
    """The bytes are no flatbuffer of this schema."""


class Table:
    """A table whose fields can be read safely.

    Args:
        file: The file that it is in.
        position: Where it starts.
    """

    __slots__ = ("_file", "_position", "_size", "_slots")

    def __init__(self, file: Flatbuffer, position: int) -> None:
        self._file, self._position = file, position
        vtable = position - file.number(position, "<i")
        size, self._size = file.number(vtable, "<H"), file.number(vtable + 2, "<H")
        if vtable % 2 or size < 4 or size % 2 or self._size < 4 or position % 4:
            raise DamagedFlatbufferError("a vtable is out of shape")
        file.need(position, self._size)
        file.need(vtable, size)
        self._slots = struct.unpack_from(f"<{size // 2 - 2}H", file.data, vtable + 4)
        file.count_table()

    def has(self, slot: int) -> bool:
        """Whether a field is there."""
        return slot < len(self._slots) and self._slots[slot] != 0

    def number(self, slot: int, code: str, default: float = 0) -> Any:
        """A scalar, by its code of ``struct``."""
        if not self.has(slot):
            return default
        return self._file.number(self._field(slot, struct.calcsize("<" + code)), "<" + code)

    def vector(self, slot: int, dtype: str) -> NDArray[Any]:
        """A vector of scalars, empty where the field is absent."""
        if not self.has(slot):
            return np.zeros(0, dtype)
        return self._file.vector(self._file.followed(self._field(slot, 4)), np.dtype(dtype))

    def text(self, slot: int) -> bytes:
        """A text; its end must be marked, because readers in C rely on it."""
        if not self.has(slot):
            return b""
        position = self._file.followed(self._field(slot, 4))
        content = self._file.vector(position, np.dtype("u1"))
        if self._file.number(position + 4 + len(content), "<B"):
            raise DamagedFlatbufferError("a text has no end")
        return content.tobytes()

    def table(self, slot: int) -> Table | None:
        """A table, or None where the field is absent."""
        if not self.has(slot):
            return None
        return Table(self._file, self._file.followed(self._field(slot, 4)))

    def tables(self, slot: int) -> list[Table]:
        """A vector of tables."""
        if not self.has(slot):
            return []
        position = self._file.followed(self._field(slot, 4))
        count = len(self._file.vector(position, np.dtype("<u4")))
        return [Table(self._file, self._file.followed(position + 4 + 4 * index)) for index in range(count)]

    def _field(self, slot: int, size: int) -> int:
        offset = self._slots[slot]
        if offset < 4 or offset + size > self._size or (self._position + offset) % size:
            raise DamagedFlatbufferError("a field lies outside its table")
        return int(self._position + offset)


class Flatbuffer:
    """The bytes of one flatbuffer.

    Args:
        data: The whole file.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self.data = data
        self._left_bytes = _READ_SHARE * len(data) + 4096
        self._left_tables = _MOST_TABLES

    def root(self) -> Table:
        """The root table.

        Raises:
            DamagedFlatbufferError: It lies outside the file.
        """
        return Table(self, self.followed(0))

    def need(self, position: int, size: int) -> None:
        """Checks that bytes are inside the file."""
        if position < 0 or size < 0 or position + size > len(self.data):
            raise DamagedFlatbufferError("something reaches past the end")

    def number(self, position: int, code: str) -> Any:
        """One scalar."""
        self.need(position, struct.calcsize(code))
        return struct.unpack_from(code, self.data, position)[0]

    def followed(self, position: int) -> int:
        """Where an offset leads; it never leads back."""
        offset = self.number(position, "<I")
        if offset < 4 or offset >= 1 << 31 or position % 4:
            raise DamagedFlatbufferError("an offset leads nowhere")
        return int(position + offset)

    def vector(self, position: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """A vector of scalars."""
        length = self.number(position, "<I")
        size = length * dtype.itemsize
        self.need(position + 4, size)
        if position % 4 or (dtype.itemsize == 8 and length and (position + 4) % 8):
            raise DamagedFlatbufferError("a vector is out of place")
        self._left_bytes -= size
        if self._left_bytes < 0:
            raise DamagedFlatbufferError("its parts are shared without end")
        return np.frombuffer(self.data, dtype, length, position + 4)

    def count_table(self) -> None:
        """Counts the tables read."""
        self._left_tables -= 1
        if self._left_tables < 0:
            raise DamagedFlatbufferError("it has tables without end")


Data = TypeVar("Data", bytes, memoryview)


def protobuf_fields(data: Data) -> Iterator[tuple[int, int | Data]]:
    """Yields (field number, value) of one message, in the order of the bytes.

    A view gives views, so that walking down a large file copies nothing. What protobuf's own parsers read in
    more than one way (groups, tags beyond 32 bits) is refused here, so that they cannot see another message.

    Raises:
        ValueError: The bytes are not a whole message.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire_type = tag >> 3, tag & 7
        if field == 0 or tag >= 1 << 32:
            raise ValueError(f"field {field}")
        if wire_type == 0:
            value, position = _varint(data, position)
            yield field, value
            continue
        if wire_type == 2:
            length, position = _varint(data, position)
        elif wire_type in {1, 5}:
            length = 8 if wire_type == 1 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if position + length > len(data):
            raise ValueError(f"field {field} reaches past the end")
        yield field, data[position : position + length]
        position += length


def submessages(data: memoryview, *wanted: int) -> Iterator[memoryview]:
    """The messages, texts or byte strings in one of the fields.

    Raises:
        ValueError: The bytes are not a whole message.
    """
    for field, value in protobuf_fields(data):
        if field in wanted and isinstance(value, memoryview):
            yield value


def protobuf_numbers(data: memoryview, wanted: int) -> list[int]:
    """The varints of one repeated field, packed or not, as signed 64-bit numbers.

    Raises:
        ValueError: The bytes are not a whole message.
    """
    found = []
    for field, value in protobuf_fields(data):
        if field != wanted:
            continue
        if isinstance(value, int):
            found.append(value)
            continue
        position = 0
        while position < len(value):
            number, position = _varint(value, position)
            found.append(number)
    return [number - (1 << 64) if number >= 1 << 63 else number for number in found]


def protobuf_field(number: int, content: bytes) -> bytes:
    """One field that holds bytes, text or a message.

    Parsers merge what stands behind a message into it, so appended fields extend lists.
    """
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 70:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value, position
        shift += 7
    raise ValueError("unfinished varint")


def _as_varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)


def names_in(text: str) -> frozenset[str]:
    """The words of a text: how the lists of allowed names are written."""
    return frozenset(text.split())
