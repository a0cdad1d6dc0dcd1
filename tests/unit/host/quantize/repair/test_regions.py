"""Parts that may stay in float: their share of the work, and heads of unlike outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.host.quantize.repair.float_model import TfliteFloat, open_kept
from edgepose.host.quantize.repair.network import Network, outputs_of
from edgepose.host.quantize.repair.noise_gains import Region, float_regions, unlike_head
from edgepose.runtime.activation_statistics import collect_statistics
from tests.support.tflite_networks import SAME, Builder, random_inputs

DEPTH = 12


def opened(b: Builder, output: int, folder: Path) -> TfliteFloat:
    path = folder / "float.tflite"
    path.write_bytes(b.model(output))
    return TfliteFloat.of_file(path)


def chain(folder: Path) -> Network:
    """Layers of equal cost."""
    b = Builder(0)
    x = b.image
    for _ in range(DEPTH):
        x = b.conv(x, 4, 4)
    return opened(b, x, folder).network


def test_share_is_that_of_the_multiplications(tmp_path: Path) -> None:
    regions = {region.name: region for region in float_regions(chain(tmp_path), [], [], 1.0)}
    assert set(regions) == {
        "the first 8 ops",
        "the last 2 ops",
        "the last 4 ops",
    }
    for name, region in regions.items():
        count = int(name.split()[2])
        assert region.share == pytest.approx(count / DEPTH)
        assert len(region.tensors) == count


def test_parts_above_the_limit_are_left_out_and_cheap_ones_come_first(tmp_path: Path) -> None:
    network = chain(tmp_path)
    assert [region.name for region in float_regions(network, [], [], 0.4)] == [
        "the last 2 ops",
        "the last 4 ops",
    ]
    regions = float_regions(network, [], [], 1.0)
    assert [region.name for region in regions] == ["the last 2 ops", "the last 4 ops", "the first 8 ops"]
    assert [region.share for region in regions] == sorted(region.share for region in regions)
    assert float_regions(network, [], [], 0.1) == []


def test_culprit_takes_its_writer_and_all_its_readers_along(tmp_path: Path) -> None:
    network = chain(tmp_path)
    culprit = outputs_of(network.steps[5])[0]
    (around,) = (r for r in float_regions(network, [culprit], [], 1.0) if "noisiest" in r.name)
    assert around.tensors == (culprit, outputs_of(network.steps[6])[0])
    assert around.share == pytest.approx(2 / DEPTH)


def test_transposed_convolution_counts_the_places_of_its_input(tmp_path: Path) -> None:
    b = Builder(0)
    shape, weights = b.store(np.array([1, 16, 12, 4])), b.normal(4, 2, 2, 4)
    settings = {"padding": SAME, "strideH": 2, "strideW": 2}
    x = b.op("TRANSPOSE_CONV", shape, weights, b.image, b.normal(4), options="TransposeConv", **settings)
    # 48 places x 64 weights; then two layers of 192 places x 16 weights each.
    network = opened(b, b.conv(b.conv(x, 4, 4), 4, 4), tmp_path).network
    (last,) = float_regions(network, [], [], 1.0)
    assert last.name == "the last 2 ops"
    assert last.share == pytest.approx(2 / 3)


def head(folder: Path, factor: float, *, joined: bool = True) -> tuple[Region | None, Network]:
    """Boxes and scores, one ``factor`` times the other, joined and moved at the end."""
    b = Builder(2)
    weights = b.random.normal(size=(4, 1, 1, 4))
    x = b.conv(b.image, 4, 4)
    small = b.conv(x, 4, 4, weights=weights)
    large = b.add(small, b.store(np.full(4, factor, np.float32)), "MUL")
    if joined:
        both = b.op("CONCATENATION", small, large, options="Concatenation", axis=3)
    else:
        both = b.add(small, large)
    model = opened(b, b.reshape(both, 1, 48, 8 if joined else 4), folder)
    statistics = collect_statistics(open_kept(model), random_inputs(3, 0))
    return unlike_head(model.network, statistics), model.network


@pytest.mark.parametrize(("factor", "found"), [(640.0, True), (8.5, True), (7.5, False), (1.0, False)])
def test_head_is_unlike_above_eight_times_the_range(tmp_path: Path, factor: float, found: bool) -> None:
    region, network = head(tmp_path, factor)
    assert (region is not None) == found
    if region is not None:
        assert region.share == 0.0
        assert region.tensors[-1] == network.outputs[0] == "heatmaps"
        convolutions = {outputs_of(step)[0] for step in network.steps if step.name == "CONV_2D"}
        assert not convolutions & set(region.tensors)
        assert any("concat" in name for name in region.tensors)


def test_sum_of_unlike_tensors_is_no_head(tmp_path: Path) -> None:
    assert head(tmp_path, 640.0, joined=False)[0] is None


def test_join_in_the_middle_of_a_network_is_no_head(tmp_path: Path) -> None:
    b = Builder(2)
    small = b.conv(b.image, 4, 4)
    large = b.add(small, b.store(np.full(4, 640.0, np.float32)), "MUL")
    both = b.op("CONCATENATION", small, large, options="Concatenation", axis=3)
    model = opened(b, b.conv(both, 8, 3), tmp_path)
    statistics = collect_statistics(open_kept(model), random_inputs(3, 0))
    assert unlike_head(model.network, statistics) is None


def test_front_and_worst_tensors_may_stay_in_float_together(tmp_path: Path) -> None:
    b = Builder(0)
    x = b.image
    for _ in range(40):
        x = b.conv(x, 4, 4)
    network = opened(b, x, tmp_path).network
    culprits = [outputs_of(step)[0] for step in network.steps[-16:]]
    (both,) = (
        r for r in float_regions(network, [], culprits, 1.0) if r.name.startswith("the first 8 ops and")
    )
    # Eight at the front, the sixteen, and the writer of the first of them is among them already.
    expected = {outputs_of(step)[0] for step in (*network.steps[:8], *network.steps[-16:])}
    assert set(both.tensors) == expected
    # Fewer tensors than that are no sixteen worst.
    assert not any(" and those " in region.name for region in float_regions(network, [], culprits[:15], 1.0))
