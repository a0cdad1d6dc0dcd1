"""Which row belongs to which column: pairs of a similarity matrix."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def greedy_pairs(alike: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs rows with columns, the most alike first; each row and column at most once.

    Args:
        alike: (N, M).
        least: Pairs below stay apart.

    Returns:
        (row, column) pairs; equal values pair the lower row first.
    """
    order: Sequence[int] = np.argsort(-alike, axis=None, kind="stable").tolist()
    rows: set[int] = set()
    columns: set[int] = set()
    pairs = []
    for flat in order:
        row, column = divmod(flat, alike.shape[1])
        if alike[row, column] < least:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs


def best_pairs(alike: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs rows with columns so that the sum of the similarities is as large as it can be.

    Kuhn's Hungarian method in the form of shortest augmenting paths with potentials (Jonker and Volgenant
    1987), O(n^3) on plain floats: for the few persons of a picture faster than calls of numpy.

    Args:
        alike: (N, M).
        least: Pairs below are not made.

    Returns:
        (row, column) pairs, by row.
    """
    if alike.shape[0] > alike.shape[1]:
        return sorted((row, column) for column, row in best_pairs(alike.T, least))
    # A pair that may not be made is worth nothing, so that it never displaces one that may.
    worth = np.where(alike >= least, alike, 0.0)
    row_of = _assign((-worth).tolist())
    pairs = [(row, column) for column, row in enumerate(row_of) if row >= 0]
    return sorted(pair for pair in pairs if alike[pair] >= least)


def _assign(cost: list[list[float]]) -> list[int]:
    """The row of each column, -1 for none; every row (at most as many as columns) gets a column."""
    rows, columns = len(cost), len(cost[0]) if cost else 0
    row_price, column_price = [0.0] * rows, [0.0] * (columns + 1)
    # Column `columns` is where each search starts.
    row_of = [-1] * (columns + 1)
    for row in range(rows):
        row_of[columns] = row
        _augment(cost, row_price, column_price, row_of)
    return row_of[:columns]


def _augment(
    cost: list[list[float]], row_price: list[float], column_price: list[float], row_of: list[int]
) -> None:
    """Finds the cheapest way from the new row to a free column, and moves everybody along it."""
    columns = len(column_price) - 1
    distance, came_from = [float("inf")] * columns, [columns] * columns
    visited = [False] * (columns + 1)
    here = columns
    while row_of[here] >= 0:
        visited[here] = True
        row, nearest, step = row_of[here], -1, float("inf")
        for column in range(columns):
            if visited[column]:
                continue
            reduced = cost[row][column] - row_price[row] - column_price[column]
            if reduced < distance[column]:
                distance[column], came_from[column] = reduced, here
            if distance[column] < step:
                step, nearest = distance[column], column
        for column in range(columns + 1):
            if visited[column]:
                row_price[row_of[column]] += step
                column_price[column] -= step
            elif column < columns:
                distance[column] -= step
        here = nearest
    while here != columns:
        row_of[here], here = row_of[came_from[here]], came_from[here]
