"""The record of ranges: exact, strict, finite, of enough crops."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.records.quantization import FEWEST_CROPS, ActivationRanges, require_enough_crops
from edgepose.records.record import from_json, to_json
from edgepose.runtime.activation_statistics import ChannelStatistics, to_statistics, to_tensor_ranges

_AWKWARD = np.array([1 / 3, -0.0, 5e-324, -1.7976931348623157e308, float(np.float32(0.1)), 2.0])


def _record() -> ActivationRanges:
    low, high = -np.abs(_AWKWARD), np.abs(_AWKWARD)
    found = ChannelStatistics(low, high, low, high, _AWKWARD, high, _AWKWARD, low[:1], high[:1], crops=20)
    return ActivationRanges(
        model_sha256="a" * 64,
        model_name="tiny",
        model_version="1",
        runtime="onnxruntime",
        runtime_version="1.0",
        frames=30,
        crops=20,
        distinct_crops=18,
        crops_not_accepted=10,
        boxes_from="followed",
        tensors=to_tensor_ranges({"a/b": found}),
    )


def test_every_bit_survives_the_file() -> None:
    record = _record()
    again = from_json(to_json(record), ActivationRanges, "ranges")
    (before,), (after,) = to_statistics(record).values(), to_statistics(again).values()
    for name, value in vars(before).items():
        assert np.asarray(value).tobytes() == np.asarray(getattr(after, name)).tobytes(), name
    assert after.mean.tobytes() == _AWKWARD.tobytes()


def _change(plain: dict[str, Any], path: str, value: object) -> str:
    *parents, last = path.split(".")
    target: Any = plain
    for key in parents:
        target = target[int(key) if key.isdigit() else key]
    target[last] = value
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        pytest.param("tensors.0.mean", [float("nan")] * 6, "not finite", id="NaN"),
        pytest.param("tensors.0.whole_high", float("inf"), "not finite", id="infinite"),
        pytest.param("tensors.0.mean", [1.0], "unlike numbers", id="another number of channels"),
        pytest.param("tensors.0.mean", [], "mean", id="no channel"),
        pytest.param("tensors.0.highest", [-1e9] * 6, "above its highest", id="turned round"),
        pytest.param("tensors", [], "tensors", id="no tensor"),
        pytest.param("distinct_crops", 21, "above crops", id="more different than there are"),
        pytest.param("picture", "....", "picture", id="an unknown field"),
        pytest.param("schema", "edgepose.ranges/2", "schema", id="another release"),
        pytest.param("model_sha256", "abc", "model_sha256", id="no digest"),
    ],
)
def test_a_wrong_record_is_refused_with_the_reason(path: str, value: object, reason: str) -> None:
    plain = json.loads(to_json(_record()))
    with pytest.raises(ConfigError, match=reason):
        from_json(_change(plain, path, value), ActivationRanges, "ranges")


def test_the_same_tensor_twice_is_refused() -> None:
    plain = json.loads(to_json(_record()))
    plain["tensors"] *= 2
    with pytest.raises(ConfigError, match="unlike names"):
        from_json(json.dumps(plain), ActivationRanges, "ranges")


def test_too_few_different_crops_are_refused() -> None:
    require_enough_crops(FEWEST_CROPS, FEWEST_CROPS, "camera")
    with pytest.raises(ConfigError, match="15 of them different"):
        require_enough_crops(500, FEWEST_CROPS - 1, "camera")
