"""The zoo converts directly; planted trouble changes nothing in float and ruins plain int8.

The second half is the negative control of every repair: without it a repair that does nothing would pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.models.artifact import open_artifact
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest
from edgepose.records.lineage import RECIPES
from edgepose.runtime.backend import run_once
from edgepose.runtime.open_model import open_backend
from tests.support.zoo import plant
from tests.support.zoo.catalogue import ZOO
from tests.support.zoo.lessons import marker_lessons

ZooModel = Callable[[str], Path]
Plant = Callable[[Path, Path], Path]


def at(places: list[str], share: float) -> str:
    """One of the places, 0 the first, 1 the last."""
    return places[int(share * (len(places) - 1))]


def one_channel(source: Path, out: Path) -> Path:
    return plant.scale_channel(source, out, at(plant.ill_places(source), 1.0), 3)


def many_channels(source: Path, out: Path) -> Path:
    return plant.scale_many_channels(source, out, seed=0)


def unlike_halves(source: Path, out: Path) -> Path:
    return plant.concat_unlike(source, out, at(plant.ill_places(source), 1.0))


def dead_channels(source: Path, out: Path) -> Path:
    return plant.add_dead_channels(source, out, plant.ill_places(source, folded=True)[0], 8)


TROUBLE: dict[str, Plant] = {
    "one_channel": one_channel,
    "many_channels": many_channels,
    "unlike_halves": unlike_halves,
    "unsavable": plant.unsavable,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_zoo_model_becomes_tflite_by_the_direct_route(zoo_model: ZooModel, name: str, tmp_path: Path) -> None:
    request = ConversionRequest(open_artifact(zoo_model(name), None), "tflite", tmp_path / "zoo.tflite")
    record = convert_model(request).record
    assert (record.route, record.route_note) == ("direct", "")
    assert min(parity.correlation for parity in record.parity) > 0.9999


@pytest.mark.slow
def test_spec_from_outside_serves_a_zoo_model_without_one_inside(tmp_path: Path) -> None:
    family = ZOO["multibranch_heatmap"]
    model = family.build(tmp_path / "bare.onnx", with_spec=False)
    (tmp_path / "spec.toml").write_text(family.spec_toml)
    assert open_artifact(model, tmp_path / "spec.toml").spec == family.spec


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLE)
@pytest.mark.parametrize("name", ["shuffle_heatmap", "mobile_heatmap", "layernorm_simcc", "yolo_pose"])
def test_trouble_changes_nothing_in_float(
    zoo_model: ZooModel, name: str, trouble: str, tmp_path: Path
) -> None:
    healthy = zoo_model(name)
    _assert_same_outputs(name, healthy, TROUBLE[trouble](healthy, tmp_path / "ill.onnx"))


@pytest.mark.slow
def test_dead_channels_change_nothing_in_float(zoo_model: ZooModel, tmp_path: Path) -> None:
    healthy = zoo_model("shuffle_heatmap")
    _assert_same_outputs("shuffle_heatmap", healthy, dead_channels(healthy, tmp_path / "ill.onnx"))


@pytest.mark.slow
def test_healthy_model_keeps_its_keypoints_under_plain_int8(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    assert _agreement(zoo_model("shuffle_heatmap"), marker_set, tmp_path) > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("trouble", TROUBLE)
def test_trouble_ruins_plain_int8(
    zoo_model: ZooModel, trouble: str, marker_set: Path, tmp_path: Path
) -> None:
    ill = TROUBLE[trouble](zoo_model("shuffle_heatmap"), tmp_path / "ill.onnx")
    assert _agreement(ill, marker_set, tmp_path) < 0.9


@pytest.mark.slow
def test_trouble_is_refused_where_it_has_no_place(zoo_model: ZooModel, tmp_path: Path) -> None:
    model = zoo_model("multibranch_heatmap")
    with pytest.raises(ValueError, match="is not the ReLU of a convolution"):
        plant.add_dead_channels(model, tmp_path / "ill.onnx", plant.ill_places(model)[-1], 4)


def _assert_same_outputs(name: str, healthy: Path, ill: Path) -> None:
    (picture,) = marker_lessons(ZOO[name].spec, 1, seed=5).inputs
    expected, found = (run_once(open_backend(path), picture) for path in (healthy, ill))
    for before, after in zip(expected, found, strict=True):
        assert np.abs(after - before).max() < 3e-4 * np.ptp(before)


def _agreement(model: Path, calibration: Path, folder: Path) -> float:
    request = QuantizationRequest(
        source=open_artifact(model, None),
        recipe=RECIPES["static_wi8_ai8"],
        target="tflite",
        output=folder / "int8.tflite",
        calibration=calibration,
    )
    agreement = quantize_model(replace(request, compared_crops=0)).report.agreement_oks
    assert agreement is not None
    return agreement
