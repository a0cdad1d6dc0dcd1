"""The comparison that stands behind every conversion, on values whose difference is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.convert.parity import match_outputs

Values = NDArray[np.float32]


@pytest.fixture
def heatmaps() -> Values:
    """4 pictures of (1, 17, 16, 12)."""
    return np.random.default_rng(0).random((4, 1, 17, 16, 12), np.float32)


def test_equal_outputs_pass(heatmaps: Values) -> None:
    other, parity = match_outputs({"a": heatmaps}, {"a": heatmaps.copy()})["a"]
    assert other == "a"
    assert parity.permutation == (0, 1, 2, 3)
    assert parity.max_abs_error == 0
    assert parity.correlation == pytest.approx(1)
    assert parity.argmax_agreement == 1


def test_moved_axes_are_found_and_recorded(heatmaps: Values) -> None:
    child = np.ascontiguousarray(heatmaps.transpose(0, 1, 3, 4, 2))
    other, parity = match_outputs({"a": heatmaps}, {"renamed": child})["a"]
    assert other == "renamed"
    assert parity.permutation == (0, 2, 3, 1)
    assert parity.max_abs_error == 0


def test_axes_of_one_size_are_told_apart_by_their_values() -> None:
    square = np.random.default_rng(1).random((3, 1, 8, 8, 8), np.float32)
    child = np.ascontiguousarray(square.transpose(0, 1, 4, 2, 3))
    assert match_outputs({"a": square}, {"a": child})["a"][1].permutation == (0, 3, 1, 2)


def test_several_outputs_are_matched_by_value_not_by_order(heatmaps: Values) -> None:
    child = {"x": heatmaps * 2, "y": heatmaps}
    matched = match_outputs({"a": heatmaps, "b": heatmaps * 2}, child)
    assert {name: other for name, (other, _) in matched.items()} == {"a": "y", "b": "x"}


def test_float16_rounding_passes(heatmaps: Values) -> None:
    match_outputs({"a": heatmaps}, {"a": heatmaps.astype(np.float16).astype(np.float32)})


def _noise(correlation: float, parent: Values) -> Values:
    """Values with about this correlation with the parent, and its mean and spread."""
    centred = parent - parent.mean()
    other = np.random.default_rng(2).permutation(centred.ravel()).reshape(parent.shape)
    mixed = correlation * centred + np.sqrt(1 - correlation**2) * other
    return np.asarray(mixed + parent.mean(), np.float32)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda v: _noise(0.17, v), id="correlation 0.17"),
        pytest.param(lambda v: _noise(0.99, v), id="correlation 0.99"),
        pytest.param(lambda v: v * 1.1, id="another scale"),
        pytest.param(lambda v: v + 0.05, id="an offset"),
        pytest.param(np.zeros_like, id="nothing"),
        pytest.param(lambda v: v[:, :, ::-1].copy(), id="keypoints in another order"),
        pytest.param(lambda v: np.roll(v, 1, axis=-1), id="one cell to the right"),
    ],
)
def test_damage_is_refused(heatmaps: Values, damage) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    with pytest.raises(ModelError, match="damaged output 'a'") as caught:
        match_outputs({"a": heatmaps}, {"a": damage(heatmaps)})
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(heatmaps: Values, bad: float) -> None:
    child = heatmaps.copy()
    child[2, 0, 3, 4, 5] = bad
    with pytest.raises(ModelError, match="NaN or infinite"):
        match_outputs({"a": heatmaps}, {"a": child})


def test_an_output_without_counterpart_is_refused(heatmaps: Values) -> None:
    with pytest.raises(ModelError, match="no counterpart"):
        match_outputs({"a": heatmaps}, {"a": heatmaps[:, :, :16]})
    with pytest.raises(ModelError, match="no counterpart"):
        match_outputs({"a": heatmaps, "b": heatmaps}, {"a": heatmaps})


def test_an_output_that_is_constant_on_these_pictures_passes_only_when_equal() -> None:
    constant = np.full((4, 1, 5), 0.5, np.float32)
    assert match_outputs({"a": constant}, {"a": constant.copy()})["a"][1].correlation == 1
    with pytest.raises(ModelError, match="damaged"):
        match_outputs({"a": constant}, {"a": constant + 0.01})
