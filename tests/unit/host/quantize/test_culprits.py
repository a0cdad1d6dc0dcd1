"""Every reason for a culprit, on constructed figures, and figures just short of it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.host.quantize.diagnosis.diagnosis import Diagnosis, describe
from edgepose.host.quantize.diagnosis.findings import Suspect, find_culprits, find_suspects
from edgepose.host.quantize.diagnosis.layers import layers_of
from edgepose.host.quantize.repair.network import Elementwise, Moved, Network, Opaque, Step, Sum
from edgepose.host.quantize.tensor_ranges import ranges_of
from edgepose.records.quantization import LayerSensitivity
from edgepose.runtime.activation_statistics import channel_statistics

Values = NDArray[np.float32]
RANDOM = np.random.default_rng(5)


def channels(*highest: float, low: float = 0.0, size: int = 40) -> Values:
    """(1, size, size, C): uniform from ``low`` to each channel's highest, both reached."""
    values = RANDOM.uniform(size=(1, size, size, len(highest)))
    values[0, 0, 0], values[0, 0, 1] = 0.0, 1.0
    return np.asarray(low + values * (np.array(highest) - low), np.float32)


def suspects(steps: list[Step], tensors: Mapping[str, Values], output: str = "end") -> dict[str, Suspect]:
    """What is suspected in a network whose input ``x`` is harmless."""
    known = {"x": channels(1.0, 1.0), **tensors}
    shapes = {name: values.shape for name, values in known.items()}
    network = Network(inputs=("x",), outputs=(output,), shapes=shapes, steps=steps)
    statistics = {name: channel_statistics(values, values.ndim - 1) for name, values in known.items()}
    found = find_suspects(network, statistics, ranges_of(statistics, "minmax"))
    return {suspect.tensor: suspect for suspect in found}


def made(name: str, source: str = "x") -> Opaque:
    return Opaque((source,), (name,), "MAKE")


def test_channel_that_starves_the_others_is_an_outlier() -> None:
    found = suspects([made("a")], {"a": channels(1, 1.2, 100, 0.9)})
    assert found["a"].kind == "outlier_channel"
    assert found["a"].reason == (
        "channel 2 reaches 90.9 times the median channel; 3 of 4 channels have under 8 of 256 steps"
    )


def test_channels_of_like_ranges_are_no_outliers() -> None:
    assert suspects([made("a")], {"a": channels(1, 1.2, 7, 0.9)}) == {}


def test_dead_channels_do_not_make_the_others_outliers() -> None:
    assert suspects([made("a")], {"a": channels(0, 0, 0, 5, 0, 4)}) == {}


def test_output_of_unlike_channels_shares_a_scale() -> None:
    found = suspects([made("end")], {"end": channels(1, 1, 1, 640)})
    assert found["end"].kind == "shared_scale"
    assert "3 of 4 have under 8 of 256 steps" in found["end"].reason


@pytest.mark.parametrize(("high", "named"), [(640.0, True), (7.0, False)])
def test_joined_tensors_of_unlike_ranges_share_a_scale(high: float, *, named: bool) -> None:
    parts = {"a": channels(1, 1), "b": channels(high, high)}
    joined = np.concatenate([parts["a"], parts["b"]], axis=3)
    step = Moved(("a", "b"), "ab", lambda *arrays: np.concatenate(arrays, axis=3), name="CONCATENATION")
    found = suspects([made("a"), made("b"), step], {**parts, "ab": joined})
    assert ("ab" in found) == named
    if named:
        assert found["ab"].reason == (
            "joins 0..1 with 0..640 under one scale: the narrower has 0.4 of 256 steps"
        )


def test_values_far_from_zero_are_a_dead_range() -> None:
    found = suspects([made("a")], {"a": channels(1010, 1005, low=1000)})
    assert found["a"].kind == "dead_range"
    assert found["a"].reason.startswith("holds 1000..1010 only, but its scale must reach 0 as well")
    assert suspects([made("a")], {"a": channels(1010, 1005, low=500)}) == {}


def test_rare_extreme_values_are_a_dead_range() -> None:
    values = channels(1, 1, size=400)
    values[0, 3, 3] = 900.0
    found = suspects([made("a")], {"a": values})
    assert found["a"].kind == "dead_range"
    assert "is set by 2 of 2 channels, while at least 99 % of the values lie in" in found["a"].reason
    values[0, 1::3] *= 300.0
    assert suspects([made("a")], {"a": values}) == {}


def test_only_the_first_place_of_an_outlier_is_named() -> None:
    ill, factor = channels(1, 1, 1, 300), np.ones(1, np.float32)
    steps: list[Step] = [
        made("a"),
        Elementwise("a", "b", factor, name="LEAKY_RELU"),
        Moved(("b",), "c", lambda values: values, name="RESHAPE"),
        Sum(("b", "x2"), "d", name="ADD"),
    ]
    found = suspects([made("x2"), *steps], {"a": ill, "b": ill, "c": ill, "d": ill, "x2": ill * 0 + 1})
    named = [culprit.tensor for culprit in find_culprits(tuple(found.values()), ())]
    assert sorted(named) == ["a", "d"]


def test_what_is_only_moved_is_no_layer() -> None:
    step = Moved(("a",), "b", lambda values: values, name="RESHAPE")
    network = Network(("x",), ("b",), {"x": (1, 2), "a": (1, 2), "b": (1, 2)}, [made("a"), step])
    names = [layer.tensor for layer in layers_of(network, {"x": (0, 1), "a": (0, 1), "b": (0, 1)})]
    assert names == ["x", "a"]
    # A tensor between the steps of one op has no range; the layer goes by what comes out of the op.
    assert [layer.tensor for layer in layers_of(network, {"b": (0, 1)})] == ["b"]


def measured(layer: str, loss: float | None, sqnr_db: float | None) -> LayerSensitivity:
    return LayerSensitivity(layer=layer, op="MAKE", oks_loss=loss, sqnr_db=sqnr_db)


def test_measured_loss_decides_the_order_and_clears_the_harmless() -> None:
    steps: list[Step] = [made("a"), made("b"), made("c")]
    ill = channels(1, 1, 1, 300)
    found = tuple(suspects(steps, {"a": ill, "b": ill, "c": ill}).values())
    entries = [measured("a", 0.01, 25.0), measured("b", 0.2, 5.0), measured("c", 0.0, 45.0)]
    assert [c.tensor for c in find_culprits(found, entries)] == ["b", "a"]
    assert [c.tensor for c in find_culprits(found, ())] == ["a", "b", "c"]


def test_costly_layer_without_a_reason_is_named_sensitive() -> None:
    entries = [measured("a", 0.031, 18.2), measured("b", 0.003, 15.0), measured("c", 0.003, 25.0)]
    found = find_culprits((), entries, weight_notes={"b": "its weights are odd"})
    assert [(c.tensor, c.kind) for c in found] == [("a", "sensitive"), ("b", "sensitive")]
    assert found[0].reason == (
        "rounding this layer alone takes 0.031 from the agreement and leaves 18.2 dB at the outputs"
    )
    assert found[1].reason.endswith("; its weights are odd")


def test_description_ranks_culprits_and_says_when_there_are_none() -> None:
    entries = (measured("a", 0.031, 18.2), measured("b", None, None))
    words = describe(Diagnosis(entries, find_culprits((), entries)))
    assert "  1. sensitive: MAKE 'a' (alone takes 0.0310 from the agreement)" in words
    assert "    0.0310       18.2  MAKE 'a'" in words
    assert "none" in describe(Diagnosis((), ()))
