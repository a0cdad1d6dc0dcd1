"""Pairs that are best together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from edgepose.device.run.tracking import best_pairs


def greedy_pairs(alike: NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """What a tracker would do that takes the most alike first: the negative control."""
    pairs: list[tuple[int, int]] = []
    for flat in np.argsort(-alike, axis=None, kind="stable").tolist():
        row, column = divmod(flat, alike.shape[1])
        if alike[row, column] >= least and all(row != r and column != c for r, c in pairs):
            pairs.append((row, column))
    return pairs


def test_greedy_takes_the_best_pair_first() -> None:
    alike = np.array([[0.6, 0.9], [0.5, 0.8]])
    assert greedy_pairs(alike, 0.1) == [(0, 1), (1, 0)]
    assert greedy_pairs(alike, 0.55) == [(0, 1)]


def test_the_best_sum_may_need_a_pair_that_greedy_would_not_take() -> None:
    alike = np.array([[0.9, 0.8], [0.7, 0.1]])
    assert best_pairs(alike, 0.05) == [(0, 1), (1, 0)]
    assert greedy_pairs(alike, 0.05) == [(0, 0), (1, 1)]


def test_pairs_that_are_not_alike_enough_are_not_made_for_the_sake_of_the_sum() -> None:
    assert best_pairs(np.array([[0.9, 0.2], [0.8, 0.1]]), 0.3) == [(0, 0)]


def _best_sum(alike: NDArray[np.float64], least: float) -> float:
    wide = alike if alike.shape[0] <= alike.shape[1] else alike.T
    worth = np.where(wide >= least, wide, 0.0)
    orders = itertools.permutations(range(wide.shape[1]), wide.shape[0])
    return max(float(sum(worth[row, column] for row, column in enumerate(order))) for order in orders)


@given(
    st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
        lambda shape: arrays(np.float64, shape, elements=st.floats(0, 1))
    ),
    st.floats(0.01, 0.9),
)
def test_no_other_choice_has_a_larger_sum(alike: NDArray[np.float64], least: float) -> None:
    pairs = best_pairs(alike, least)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(alike[pair] >= least for pair in pairs)
    assert np.isclose(sum(alike[pair] for pair in pairs), _best_sum(alike, least))
    # Negative control: the greedy choice never has a larger one, and pairs no worse than it may.
    assert sum(alike[pair] for pair in greedy_pairs(alike, least)) <= _best_sum(alike, least) + 1e-9


def test_nobody_pairs_with_nobody() -> None:
    assert best_pairs(np.zeros((0, 3)), 0.1) == []
    assert best_pairs(np.zeros((3, 0)), 0.1) == []


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("density", [1.0, 0.3, 0.05])
def test_crowds_are_paired_as_scipy_pairs_them(seed: int, density: float) -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is a tool of development")
    chance = np.random.default_rng(seed)
    shape = tuple(chance.integers(1, 40, 2))
    alike = chance.random(shape) * (chance.random(shape) < density)
    pairs = best_pairs(alike, 0.1)
    worth = np.where(alike >= 0.1, alike, 0.0)
    rows, columns = optimize.linear_sum_assignment(worth, maximize=True)
    assert sum(alike[pair] for pair in pairs) == pytest.approx(worth[rows, columns].sum())
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(alike[pair] >= 0.1 for pair in pairs)
