"""Statistics per channel: exact extremes and shares, means as numpy has them, nothing by place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.runtime.activation_statistics import (
    MOST_CHANNELS,
    ChannelStatistics,
    channel_axis_of,
    channel_statistics,
    collect_statistics,
)

Array = NDArray[np.float32]


def _values(shape: tuple[int, ...], seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(0.3, 2.0, shape).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        pytest.param((1, 64, 48, 17), 3, id="feature map, channels last"),
        pytest.param((1, 17, 64, 48), 1, id="feature map, channels first"),
        pytest.param((1, 127, 1, 3), 3, id="a prime number of places"),
        pytest.param((1, 4099, 7), 2, id="a large prime number of places"),
        pytest.param((1, 2, 3, 4, 5), 4, id="five axes"),
        pytest.param((1, 9), 1, id="a row"),
        pytest.param((300, 1), 1, id="a column"),
        pytest.param((1, 1, 1, 1), 3, id="one value"),
    ],
)
def test_figures_are_those_of_numpy(shape: tuple[int, ...], axis: int) -> None:
    values = _values(shape)
    exact = np.moveaxis(values, axis, -1).reshape(-1, shape[axis]).astype(np.float64)
    found = channel_statistics(values, axis)
    assert np.array_equal(found.lowest, exact.min(axis=0))
    assert np.array_equal(found.highest, exact.max(axis=0))
    assert np.array_equal(found.active, (exact > 0).mean(axis=0))
    assert np.allclose(found.mean, exact.mean(axis=0), rtol=0, atol=1e-5)
    assert np.allclose(found.mean_square, np.square(exact).mean(axis=0), rtol=1e-5)
    assert (found.whole_low[0], found.whole_high[0]) == (exact.min(), exact.max())


def test_a_single_number_has_statistics() -> None:
    found = channel_statistics(np.array(-2.0, np.float32), channel_axis_of(0, -1))
    assert (found.low[0], found.mean_square[0], found.active[0]) == (-2.0, 4.0, 0.0)


def test_space_laid_out_flat_has_no_figure_of_a_place() -> None:
    """Else a flattened picture would come back as its mean."""
    values = _values((1, MOST_CHANNELS + 1))
    found = channel_statistics(values, 1)
    assert len(found.mean) == MOST_CHANNELS + 1
    for vector in (found.low, found.high, found.lowest, found.highest, found.mean, found.active):
        assert len(np.unique(vector)) == 1
    assert found.lowest[0] == values.min()
    # Negative control: as many channels as a layer may have keep their own.
    assert len(np.unique(channel_statistics(values[:, :-1], 1).mean)) > 1


class _Doubles:
    """A model of one op, channels last."""

    channel_axis = -1
    input_name = "image"

    def run(self, values: Array) -> None:
        self._doubled = 2 * values

    def names(self) -> list[str]:
        return ["doubled"]

    def look_at(self, name: str, look: Callable[[Array], Any]) -> Any:
        assert name == "doubled"
        return look(self._doubled)


def test_crops_are_averaged_and_their_extremes_kept() -> None:
    crops = [_values((1, 8, 6, 3), seed) for seed in range(5)]
    found = collect_statistics(_Doubles(), crops)
    assert list(found) == ["image", "doubled"]
    stacked = np.stack(crops).astype(np.float64).reshape(5, -1, 3)
    image, doubled = found["image"], found["doubled"]
    assert np.allclose(image.low, stacked.min(axis=1).mean(axis=0), atol=1e-12)
    assert np.array_equal(image.highest, stacked.max(axis=(0, 1)))
    assert np.allclose(image.whole_high, stacked.max(axis=(1, 2)).mean(), atol=1e-12)
    assert np.allclose(doubled.mean, 2 * stacked.mean(axis=(0, 1)), atol=1e-6)
    assert image.crops == 5
    assert image.whole_high[0] > image.high.max()


def _bits(of: ChannelStatistics) -> list[bytes]:
    return [np.asarray(value).tobytes() for value in vars(of).values()]


def test_the_same_crops_in_the_same_order_give_the_same_bits() -> None:
    crops = [_values((1, 8, 6, 3), seed) for seed in range(7)]
    first, again, backwards = (
        collect_statistics(_Doubles(), order)["doubled"] for order in (crops, crops, crops[::-1])
    )
    assert _bits(first) == _bits(again)
    # Negative control: means are carried on from crop to crop, so another order rounds otherwise.
    assert _bits(first) != _bits(backwards)
