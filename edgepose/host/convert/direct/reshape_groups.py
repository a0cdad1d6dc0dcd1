"""What a RESHAPE does to axes: which ones it merges and splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgepose.host.convert.direct.graph_ir import Shape

Group = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class MovedReshape:
    """A TRANSPOSE moved behind a RESHAPE.

    Attributes:
        local: Permutation of x that stays in front: it orders axes inside the groups that are merged.
        shape: What x is then reshaped to.
        perm: Permutation that follows.
    """

    local: tuple[int, ...]
    shape: Shape
    perm: tuple[int, ...]


def reshape_groups(before: Sequence[int], after: Sequence[int]) -> list[Group]:
    """Return the smallest groups (axes before, axes after) of equal size; those of size 1 are in none."""
    left = [axis for axis, size in enumerate(before) if size != 1]
    right = [axis for axis, size in enumerate(after) if size != 1]
    groups: list[Group] = []
    i = j = 0
    while i < len(left) and j < len(right):
        ins, outs = [left[i]], [right[j]]
        size_in, size_out = before[left[i]], after[right[j]]
        i, j = i + 1, j + 1
        while size_in != size_out:
            if size_in < size_out:
                size_in *= before[left[i]]
                ins.append(left[i])
                i += 1
            else:
                size_out *= after[right[j]]
                outs.append(right[j])
                j += 1
        groups.append((tuple(ins), tuple(outs)))
    return groups


def moved_reshape(before: Shape, after: Shape, perm: Sequence[int]) -> MovedReshape | None:
    """Turn RESHAPE(TRANSPOSE(x, perm)) into TRANSPOSE(RESHAPE(TRANSPOSE(x, local))).

    Args:
        before: Shape of the transposed value.
        after: Shape of the result.
        perm: The TRANSPOSE's permutation: axis i of ``before`` is axis ``perm[i]`` of x.

    Returns:
        The rewrite, or None where the axes of a group are not neighbours in x.
    """
    groups = reshape_groups(before, after)
    placed = sorted((axis for axis, size in enumerate(before) if size != 1), key=lambda axis: perm[axis])
    position = {axis: index for index, axis in enumerate(placed)}
    groups.sort(key=lambda group: min(position[axis] for axis in group[0]))
    start = 0
    for ins, _ in groups:
        if sorted(position[axis] for axis in ins) != list(range(start, start + len(ins))):
            return None
        start += len(ins)
    local = _local_order([perm[axis] for ins, _ in groups for axis in ins], len(before))
    order = _with_unit_axes(after, [axis for _, outs in groups for axis in outs])
    shape = tuple(after[axis] for axis in order)
    return MovedReshape(local, shape, tuple(order.index(axis) for axis in range(len(after))))


def _local_order(wanted: list[int], rank: int) -> tuple[int, ...]:
    """Return the permutation that puts the axes ``wanted`` in this order and leaves the others alone."""
    slots = iter(wanted)
    return tuple(next(slots) if axis in wanted else axis for axis in range(rank))


def _with_unit_axes(after: Shape, wanted: list[int]) -> list[int]:
    """Place the axes of size 1 among ``wanted`` so that the layout is a usual one where possible."""
    rank = len(after)
    usual = [list(range(rank))]
    if rank == 4:
        usual.insert(0, [0, 2, 3, 1])
    for candidate in usual:
        if [axis for axis in candidate if after[axis] != 1] == wanted:
            return candidate
    units = [axis for axis in range(rank) if after[axis] == 1]
    return units + wanted if units != [0] else [0, *wanted]
