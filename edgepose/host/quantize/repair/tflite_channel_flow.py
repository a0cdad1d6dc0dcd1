"""How TFLite's ops that only move values move them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.repair.network import Array, Move, split_moves, zero_padding

Made = list[Move] | None


class ReadsTensors(Protocol):
    """What a mover must know about the file."""

    def stored(self, index: int) -> NDArray[Any]:
        """A stored tensor's values."""
        ...

    def shape(self, index: int) -> tuple[int, ...]:
        """A tensor's static shape."""
        ...


def _shape_of(reader: ReadsTensors, op: Any, output: int = 0) -> tuple[int, ...]:
    return reader.shape(int(op.outputs[output]))


def _reshape(reader: ReadsTensors, op: Any) -> Made:
    shape = _shape_of(reader, op)
    return [lambda values: values.reshape(shape)]


def _transpose(reader: ReadsTensors, op: Any) -> Made:
    order = tuple(int(axis) for axis in reader.stored(int(op.inputs[1])))
    return [lambda values: values.transpose(order)]


def _concatenate(_reader: ReadsTensors, op: Any) -> Made:
    axis = int(op.builtinOptions.axis)
    return [lambda *values: np.concatenate(values, axis)]


def _slice(reader: ReadsTensors, op: Any) -> Made:
    begin = reader.stored(int(op.inputs[1]))
    shape = _shape_of(reader, op)
    cut = tuple(slice(int(b), int(b) + size) for b, size in zip(begin, shape, strict=True))
    return [lambda values: values[cut]]


def _strided_slice(reader: ReadsTensors, op: Any) -> Made:
    options = op.builtinOptions
    if options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask or options.offset:
        return None
    begin, end, strides = (reader.stored(int(i)) for i in op.inputs[1:4])
    cut = tuple(
        slice(
            None if options.beginMask >> i & 1 else int(begin[i]),
            None if options.endMask >> i & 1 else int(end[i]),
            int(strides[i]),
        )
        for i in range(len(begin))
    )
    return [lambda values: values[cut]]


def _split(reader: ReadsTensors, op: Any) -> Made:
    return _parts(reader, op, int(reader.stored(int(op.inputs[0])).reshape(-1)[0]))


def _split_v(reader: ReadsTensors, op: Any) -> Made:
    return _parts(reader, op, int(reader.stored(int(op.inputs[2])).reshape(-1)[0]))


def _parts(reader: ReadsTensors, op: Any, axis: int) -> Made:
    return split_moves([_shape_of(reader, op, i)[axis] for i in range(len(op.outputs))], axis)


def _gather(reader: ReadsTensors, op: Any) -> Made:
    indices, axis = reader.stored(int(op.inputs[1])), int(op.builtinOptions.axis)
    if getattr(op.builtinOptions, "batchDims", 0):
        return None
    return [lambda values: np.take(values, indices, axis)]


def _pad(reader: ReadsTensors, op: Any) -> Made:
    if len(op.inputs) > 2 and reader.stored(int(op.inputs[2])).any():
        return None
    return [zero_padding(reader.stored(int(op.inputs[1])))]


def _space_to_depth(_reader: ReadsTensors, op: Any) -> Made:
    block = int(op.builtinOptions.blockSize)

    def move(values: Array) -> Array:
        n, h, w, c = values.shape
        split = values.reshape(n, h // block, block, w // block, block, c)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // block, w // block, block * block * c)

    return [move]


def _depth_to_space(_reader: ReadsTensors, op: Any) -> Made:
    block = int(op.builtinOptions.blockSize)

    def move(values: Array) -> Array:
        n, h, w, c = values.shape
        split = values.reshape(n, h, w, block, block, c // block**2)
        return split.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * block, w * block, c // block**2)

    return [move]


MOVES: dict[str, Callable[[ReadsTensors, Any], Made]] = {
    "RESHAPE": _reshape,
    "SQUEEZE": _reshape,
    "EXPAND_DIMS": _reshape,
    "TRANSPOSE": _transpose,
    "CONCATENATION": _concatenate,
    "SLICE": _slice,
    "STRIDED_SLICE": _strided_slice,
    "SPLIT": _split,
    "SPLIT_V": _split_v,
    "GATHER": _gather,
    "PAD": _pad,
    "PADV2": _pad,
    "MIRROR_PAD": lambda _reader, _op: None,
    "SPACE_TO_DEPTH": _space_to_depth,
    "DEPTH_TO_SPACE": _depth_to_space,
}
