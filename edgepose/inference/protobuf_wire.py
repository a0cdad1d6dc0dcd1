"""The wire format of protobuf, enough to walk a message without its schema's library (protobuf.dev)."""

from __future__ import annotations

from collections.abc import Iterator


def protobuf_fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (field number, value) of one message, in the order of the bytes.

    Raises:
        ValueError: The bytes are not a whole message.
    """
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        field, wire_type = tag >> 3, tag & 7
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
        if field == 0 or position + length > len(data):
            raise ValueError(f"field {field} reaches past the end")
        yield field, data[position : position + length]
        position += length


def protobuf_field(number: int, content: bytes) -> bytes:
    """One field that holds bytes, text or a message.

    Parsers merge what stands behind a message into it, so appended fields extend lists.
    """
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _varint(data: bytes, position: int) -> tuple[int, int]:
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
