"""Which channels of a network must be scaled together, and which not at all.

Every channel of every tensor gets a number; where values of two channels meet (added, carried on, pooled)
their numbers are tied (union-find). Convolutions and matrix products tie nothing: that is where a scale can
be taken back. What is left are classes of channels, each with one free scale, or none.

Method: cross-layer equalization of Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction" (ICCV 2019), generalized from chains of two layers to any graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.repair.network import (
    Clip,
    Elementwise,
    Moved,
    Network,
    Product,
    Step,
    Sum,
    Weighted,
    Window,
    along,
)

Ids = NDArray[np.int64]
PADDING = -1


@dataclass(frozen=True, eq=False)
class ScaleClasses:
    """The classes of a network.

    Attributes:
        count: Number of classes.
        fixed: bool (count,): classes whose scale must stay 1.
        of_channel: Per tensor whose channels have one class each, int (C,) the class of each channel.
        clipped: The tensors that a bound other than 0 cuts, with that bound.
    """

    count: int
    fixed: NDArray[np.bool_]
    of_channel: dict[str, NDArray[np.int64]]
    clipped: tuple[tuple[str, Clip], ...]


def find_scale_classes(network: Network) -> ScaleClasses:
    """Ties the channels of a network into classes."""
    return _Tying(network).run()


class _Tying:
    """One walk along the steps."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._ids: dict[str, Ids] = {}
        self._count = 0
        self._pairs: list[Ids] = []
        self._fixed: list[Ids] = []
        self._clipped: list[tuple[str, Clip]] = []

    def run(self) -> ScaleClasses:
        for name in self._network.inputs:
            self._fix(self._new(name))
        for step in self._network.steps:
            self._walk(step)
            clip = getattr(step, "clip", None)
            if clip is not None and clip.bounds_scale:
                self._clipped.append((step.output, clip))  # type: ignore[union-attr]
        for name in self._network.outputs:
            self._fix(self._ids[name])
        return self._classes()

    def _walk(self, step: Step) -> None:
        ids = self._ids
        match step:
            case Weighted():
                self._channels(step.source, step.channel_axes[0])
                self._new(step.output, step.channel_axes[1])
            case Moved():
                ids[step.output] = _collapsed(np.asarray(step.move(*(ids[name] for name in step.sources))))
                self._number_padding(step.output, self._network.axis_of(step.output))
            case Elementwise():
                ids[step.output] = ids[step.source]
            case Sum():
                self._sum(step)
            case Product():
                self._fix(ids[step.gate])
                ids[step.output] = np.broadcast_to(ids[step.source], self._network.shapes[step.output])
            case Window():
                before, after = step.channel_axes
                vector = self._channels(step.source, before)
                ids[step.output] = _spread(vector, self._network.shapes[step.output], after)
            case _:
                for name in step.sources:
                    self._fix(ids[name])
                for name in step.outputs:
                    self._fix(self._new(name))

    def _sum(self, step: Sum) -> None:
        shape = self._network.shapes[step.output]
        first, *others = (np.broadcast_to(self._ids[name], shape) for name in step.sources)
        for other in others:
            self._tie(first, other)
            if (_small(first, 0) == PADDING).any():
                first = _collapsed(np.where(first == PADDING, other, first))
        self._ids[step.output] = first
        has_vector = (
            first.ndim > 0 and _one_per_channel(first, self._network.axis_of(step.output)) is not None
        )
        if step.constant is not None and not has_vector:
            # The stored summand could not follow.
            self._fix(first)

    def _new(self, name: str, axis: int | None = None) -> Ids:
        """Fresh numbers for the channels of a tensor."""
        shape = self._network.shapes[name]
        axis = self._network.axis_of(name) if axis is None else axis % max(len(shape), 1)
        size = shape[axis] if shape else 1
        numbers = np.arange(self._count, self._count + size, dtype=np.int64)
        self._count += size
        self._ids[name] = _spread(numbers, shape, axis)
        return self._ids[name]

    def _number_padding(self, name: str, axis: int) -> None:
        """A channel of nothing but zeros (padding along the channels) has a scale of its own."""
        ids = self._ids[name]
        if not ids.ndim or not (_small(ids, axis) == PADDING).any():
            return
        others = tuple(i for i in range(ids.ndim) if i != axis % ids.ndim)
        empty = (ids == PADDING).all(axis=others)
        numbers = np.full(len(empty), PADDING, np.int64)
        numbers[empty] = np.arange(self._count, self._count + empty.sum())
        self._count += int(empty.sum())
        self._ids[name] = _collapsed(np.where(ids == PADDING, _spread(numbers, ids.shape, axis), ids))

    def _channels(self, name: str, axis: int) -> Ids:
        """One number per channel; places of a channel with several numbers are tied."""
        self._number_padding(name, axis)
        rows = np.moveaxis(_small(self._ids[name], axis), axis, 0)
        rows = rows.reshape(rows.shape[0], -1)
        vector = rows.max(axis=1)
        self._tie(np.broadcast_to(vector[:, None], rows.shape), rows)
        return vector

    def _tie(self, left: Ids, right: Ids) -> None:
        left, right = _without_repeats(left, right)
        differ = (left != right) & (left != PADDING) & (right != PADDING)
        if differ.any():
            self._pairs.append(np.unique(np.stack([left[differ], right[differ]], axis=1), axis=0))

    def _fix(self, ids: Ids) -> None:
        self._fixed.append(np.unique(_without_repeats(ids, ids)[0]))

    def _classes(self) -> ScaleClasses:
        roots = _roots(self._count, self._pairs)
        numbers, class_of = np.unique(roots, return_inverse=True)
        fixed = np.zeros(len(numbers), bool)
        for ids in self._fixed:
            fixed[class_of[ids[ids != PADDING]]] = True
        of_channel: dict[str, Ids] = {}
        for name, ids in self._ids.items():
            axis = self._network.axis_of(name) if ids.ndim else 0
            vector = _one_per_channel(ids, axis, class_of) if ids.ndim else None
            if vector is not None:
                of_channel[name] = vector
        for name in (name for name, _ in self._clipped if name not in of_channel):
            # The bound is looked at channel by channel.
            fixed[class_of[self._ids[name][self._ids[name] != PADDING]]] = True
        return ScaleClasses(len(numbers), fixed, of_channel, tuple(self._clipped))


def _spread(vector: Ids, shape: tuple[int, ...], axis: int) -> Ids:
    """A vector along one axis of a shape, as a view."""
    if not shape:
        return vector.reshape(())
    return np.broadcast_to(along(vector, axis, len(shape)), shape)


def _small(ids: Ids, keep: int) -> Ids:
    """The array without its repeated entries along the axes that only repeat, but for ``keep``."""
    cut = tuple(
        slice(0, 1) if stride == 0 and axis != keep % ids.ndim else slice(None)
        for axis, stride in enumerate(ids.strides)
    )
    return ids[cut]


def _without_repeats(left: Ids, right: Ids) -> tuple[Ids, Ids]:
    cut = tuple(
        slice(0, 1) if a == 0 and b == 0 else slice(None)
        for a, b in zip(left.strides, right.strides, strict=True)
    )
    return left[cut].ravel(), right[cut].ravel()


def _collapsed(ids: Ids) -> Ids:
    """The same array as a view that repeats along every axis where all entries are equal."""
    view = ids
    for axis in range(ids.ndim):
        first = view[(slice(None),) * axis + (slice(0, 1),)]
        if view.shape[axis] > 1 and (view == first).all():
            view = first
    return np.broadcast_to(view.copy(), ids.shape)


def _one_per_channel(ids: Ids, axis: int, class_of: Ids | None = None) -> Ids | None:
    """The one number of each channel, or None; what was tied counts as one if its classes are given."""
    rows = np.moveaxis(_small(ids, axis), axis, 0)
    rows = rows.reshape(rows.shape[0], -1)
    if class_of is not None:
        rows = np.where(rows == PADDING, PADDING, class_of[rows])
    vector: Ids = rows.max(axis=1)
    same = ((rows == vector[:, None]) | (rows == PADDING)).all() and (vector != PADDING).all()
    return vector if same else None


def _roots(count: int, pairs: list[Ids]) -> Ids:
    parents = list(range(count))

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = parents[parents[number]]
            number = parents[number]
        return number

    for left, right in (pair for block in pairs for pair in block.tolist()):
        a, b = root(left), root(right)
        parents[max(a, b)] = min(a, b)
    return np.array([root(number) for number in range(count)], np.int64)
