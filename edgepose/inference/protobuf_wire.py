"""The wire format of protobuf, enough to walk a message without its schema's library (protobuf.dev)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

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
