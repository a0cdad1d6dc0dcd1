"""Leaves out of a TFLite file what only unread outputs need.

The interpreter runs every op of a file, also those whose results nobody reads: a third of BlazePose's time
goes into a mask. Taking the ops off the list of the subgraph changes no other op and no weight, so what is
still computed is computed bit for bit as before. The file on disk stays as it is.

Slots are those of TFLite's ``schema.fbs``, positions those of FlatBuffers' binary format: a vector is its
length and then its elements, a table's field is found by its vtable, an offset counts from where it stands.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

Shape = tuple[int, ...]

# Fields of Model, of SubGraph, of Operator, of Tensor.
_SUBGRAPHS, _SIGNATURES = 2, 7
_TENSORS, _OUTPUTS, _OPERATORS = 0, 2, 3
_OP_INPUTS, _OP_OUTPUTS = 1, 2
_SHAPE = 0


def without_unread_outputs(content: bytes, reads: Callable[[Shape], bool]) -> bytes | None:
    """The file without the outputs that nobody reads and without the ops that serve only them.

    Args:
        content: A TFLite file.
        reads: Whether an output of this shape is read.

    Returns:
        The changed file, or None where there is nothing to leave out or it is not certain that nothing else
        needs it: several subgraphs, signatures, an op without results. Also where the file is damaged: the
        runtime then says so.
    """
    try:
        return _pruned(bytearray(content), reads)
    except (struct.error, IndexError):
        return None


def _pruned(data: bytearray, reads: Callable[[Shape], bool]) -> bytes | None:
    file = _Tables(data)
    model = file.followed(0)
    subgraphs = file.tables(model, _SUBGRAPHS)
    if len(subgraphs) != 1 or file.tables(model, _SIGNATURES):
        return None
    graph = subgraphs[0]
    tensors, outputs = file.tables(graph, _TENSORS), file.numbers(graph, _OUTPUTS)
    read = [index for index in outputs if reads(tuple(file.numbers(tensors[index], _SHAPE)))]
    if not read or len(read) == len(outputs):
        return None
    operators = file.tables(graph, _OPERATORS)
    made = [file.numbers(operator, _OP_OUTPUTS) for operator in operators]
    if not all(made):
        return None
    used = [file.numbers(operator, _OP_INPUTS) for operator in operators]
    needed = _needed(list(zip(used, made, strict=True)), read)
    file.shorten_tables(graph, _OPERATORS, [operators[index] for index in needed])
    file.shorten_numbers(graph, _OUTPUTS, read)
    return bytes(data)


def _needed(ops: Sequence[tuple[Sequence[int], Sequence[int]]], read: Sequence[int]) -> list[int]:
    """Which ops, as (inputs, outputs) in the order of running, the read tensors come from."""
    wanted, needed = set(read), []
    for index in range(len(ops) - 1, -1, -1):
        inputs, outputs = ops[index]
        if wanted.intersection(outputs):
            needed.append(index)
            wanted.update(inputs)
    return needed[::-1]


class _Tables:
    """Tables and vectors of a FlatBuffer, by position."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def followed(self, position: int) -> int:
        """Where the offset at a position leads."""
        return position + self._get("<I", position)

    def numbers(self, table: int, slot: int) -> list[int]:
        """A vector of int32."""
        start, length = self._vector(table, slot)
        return [self._get("<i", start + 4 * index) for index in range(length)]

    def tables(self, table: int, slot: int) -> list[int]:
        """Positions of a vector of tables."""
        start, length = self._vector(table, slot)
        return [self.followed(start + 4 * index) for index in range(length)]

    def shorten_numbers(self, table: int, slot: int, numbers: Sequence[int]) -> None:
        """Writes a shorter vector of int32 over a longer one."""
        start = self._shortened(table, slot, len(numbers))
        struct.pack_into(f"<{len(numbers)}i", self._data, start, *numbers)

    def shorten_tables(self, table: int, slot: int, positions: Sequence[int]) -> None:
        """Writes a shorter vector of tables over a longer one; the tables stay where they are."""
        start = self._shortened(table, slot, len(positions))
        offsets = [position - (start + 4 * index) for index, position in enumerate(positions)]
        struct.pack_into(f"<{len(offsets)}I", self._data, start, *offsets)

    def _shortened(self, table: int, slot: int, length: int) -> int:
        start, _ = self._vector(table, slot)
        struct.pack_into("<I", self._data, start - 4, length)
        return start

    def _vector(self, table: int, slot: int) -> tuple[int, int]:
        """Position of the first element, and how many; nothing where the field is absent."""
        vtable = table - self._get("<i", table)
        entry = 4 + 2 * slot
        offset = self._get("<H", vtable + entry) if entry < self._get("<H", vtable) else 0
        if not offset:
            return 4, 0
        vector = self.followed(table + offset)
        length = self._get("<I", vector)
        if vector + 4 + 4 * length > len(self._data):
            raise IndexError("vector reaches past the end")
        return vector + 4, length

    def _get(self, kind: str, position: int) -> int:
        if position < 0:
            raise IndexError("position before the start")
        return int(struct.unpack_from(kind, self._data, position)[0])
