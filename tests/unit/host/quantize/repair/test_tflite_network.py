"""Reading TFLite for the repair: any scales that the classes allow leave the float output as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgepose.host.models.tflite_view import read_tflite
from edgepose.host.quantize.repair.equalization import (
    Equalization,
    equalized_constants,
    find_equalization,
    scaled_statistics,
)
from edgepose.host.quantize.repair.float_model import TfliteFloat, open_kept
from edgepose.host.quantize.repair.network import Network, Opaque, Sum
from edgepose.host.quantize.repair.noise_gains import noise_gains
from edgepose.host.quantize.repair.scale_classes import ScaleClasses, find_scale_classes
from edgepose.host.quantize.repair.tflite_network import split_shared_constants
from edgepose.runtime.activation_statistics import ChannelStatistics, collect_statistics
from tests.support.tflite_networks import FAMILIES, RELU, Builder, random_inputs, random_network, run


def model_of(data: bytes, folder: Path) -> TfliteFloat:
    path = folder / "float.tflite"
    path.write_bytes(data)
    return TfliteFloat.of_file(path)


def statistics_of(model: TfliteFloat) -> dict[str, ChannelStatistics]:
    return collect_statistics(open_kept(model), random_inputs(4, 11))


def random_scales(classes: ScaleClasses, seed: int) -> NDArray[np.float64]:
    """Anything that is allowed: fixed classes, and those behind a bound, keep 1."""
    scales = np.exp(np.random.default_rng(seed).normal(size=classes.count))
    scales[classes.fixed] = 1.0
    for name, _ in classes.clipped:
        scales[classes.of_channel[name]] = 1.0
    return scales


def scaled(model: TfliteFloat, network: Network, seed: int) -> TfliteFloat:
    classes = find_scale_classes(network)
    found = Equalization(random_scales(classes, seed), classes, 0.0)
    return model.with_constants(equalized_constants(network, found))


def relative_difference(one: bytes, other: bytes) -> float:
    differences = []
    for values in random_inputs(2, 5):
        expected = run(one, values)
        differences.append(float(np.abs(expected - run(other, values)).max() / np.abs(expected).max()))
    return max(differences)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_allowed_scales_keep_the_float_output(tmp_path: Path, family: str, seed: int) -> None:
    model = model_of(random_network(family, seed), tmp_path)
    changed = scaled(model, model.network, seed)
    assert changed.data != model.data
    assert relative_difference(model.data, changed.data) <= 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_found_scales_keep_the_float_output(tmp_path: Path, family: str) -> None:
    model = model_of(random_network(family, 2), tmp_path)
    found = find_equalization(model.network, statistics_of(model))
    assert found.predicted_db > 0
    changed = model.with_constants(equalized_constants(model.network, found))
    assert relative_difference(model.data, changed.data) <= 1e-5


def without_tie(network: Network) -> Network:
    network.steps = [
        replace(step, sources=step.sources[:1]) if isinstance(step, Sum) and step.constant is None else step
        for step in network.steps
    ]
    return network


def test_wrong_tie_changes_the_float_output(tmp_path: Path) -> None:
    model = model_of(random_network("residual", 0), tmp_path)
    changed = scaled(model, without_tie(model.network), 0)
    assert relative_difference(model.data, changed.data) > 1e-2


def test_only_ops_without_a_reader_are_opaque(tmp_path: Path) -> None:
    opaque = {}
    for family in FAMILIES:
        steps = model_of(random_network(family, 0), tmp_path).network.steps
        opaque[family] = {step.name for step in steps if isinstance(step, Opaque)}
    assert {name: found for name, found in opaque.items() if found} == {
        "computed_gather": {"LOGISTIC", "CAST", "GATHER"},
        "gate": {"LOGISTIC"},
        "hard_swish": {"HARD_SWISH"},
        "reciprocal": {"LOGISTIC", "DIV"},
        "softmax": {"SOFTMAX"},
    }


def test_weights_that_two_layers_share_are_scaled_apart(tmp_path: Path) -> None:
    b = Builder(3)
    weights, bias = b.normal(4, 1, 1, 4), b.normal(4)
    x = b.image
    for _ in range(3):
        x = b.op(
            "CONV_2D", x, weights, bias, options="Conv2D", strideH=1, strideW=1, fusedActivationFunction=RELU
        )
    data = b.model(b.conv(x, 4, 3))
    model = model_of(data, tmp_path)
    changed = scaled(model, model.network, 0)
    assert changed.data != data
    assert relative_difference(data, changed.data) <= 1e-5
    graph = read_tflite(data)
    before = len(graph.subgraphs[0].tensors)
    split_shared_constants(graph)
    assert len(graph.subgraphs[0].tensors) == before + 4
    assert relative_difference(data, bytes(flatbuffer_utils.convert_object_to_bytearray(graph))) == 0


def one_large_channel(factor: float) -> bytes:
    """Two layers; channel 2 between them is ``factor`` times larger, and its reader that much smaller."""
    b = Builder(7)
    first, second = b.random.normal(size=(8, 3, 3, 4)), b.random.normal(size=(6, 1, 1, 8))
    first[2] *= factor
    second[..., 2] /= factor
    hidden = b.op(
        "CONV_2D",
        b.image,
        b.store(first),
        b.store(np.zeros(8)),
        options="Conv2D",
        strideH=1,
        strideW=1,
        fusedActivationFunction=RELU,
    )
    b._subgraph.tensors[hidden].name = b"hidden"
    return b.model(b.conv(hidden, 8, 6, weights=second))


def unevenness(statistics: dict[str, ChannelStatistics]) -> float:
    reach = statistics["hidden"].highest
    return float(reach.max() / np.median(reach))


def test_channel_a_thousand_times_larger_is_found_and_undone(tmp_path: Path) -> None:
    model = model_of(one_large_channel(1000.0), tmp_path)
    before = statistics_of(model)
    found = find_equalization(model.network, before)
    changed = model.with_constants(equalized_constants(model.network, found))
    after = statistics_of(changed)
    assert unevenness(before) > 300
    assert unevenness(after) < 10
    assert found.predicted_db > 20
    assert relative_difference(model.data, changed.data) <= 1e-5
    told = scaled_statistics(before, found)["hidden"]
    np.testing.assert_allclose(told.highest, after["hidden"].highest, rtol=1e-4)
    np.testing.assert_allclose(told.mean_square, after["hidden"].mean_square, rtol=1e-4)


def test_even_network_has_little_to_gain(tmp_path: Path) -> None:
    model = model_of(one_large_channel(1.0), tmp_path)
    assert find_equalization(model.network, statistics_of(model)).predicted_db < 6


def test_noise_gain_of_a_linear_network_is_what_noise_does(tmp_path: Path) -> None:
    """Measured: white noise on one channel of the input of a lone layer."""
    b = Builder(1)
    model = model_of(
        b.model(
            b.op(
                "CONV_2D", b.image, b.normal(3, 1, 1, 4), b.normal(3), options="Conv2D", strideH=1, strideW=1
            )
        ),
        tmp_path,
    )
    statistics = statistics_of(model)
    gains = noise_gains(model.network, statistics)["image"]
    random, measured = np.random.default_rng(0), np.zeros(4)
    power = statistics["heatmaps"].mean_square.mean()
    values = random_inputs(1, 0)[0]
    for channel in range(4):
        noise = np.zeros_like(values)
        noise[..., channel] = random.normal(0, 0.1, noise.shape[:3])
        change: Any = run(model.data, values + noise) - run(model.data, values)
        measured[channel] = np.square(change).mean() / power / np.square(noise[..., channel]).mean()
    np.testing.assert_allclose(gains, measured, rtol=1e-3)
