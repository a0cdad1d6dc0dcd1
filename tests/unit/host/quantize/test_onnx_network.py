"""Reading ONNX for the repair: any scales that the classes allow leave the float output as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from edgepose.host.quantize.onnx_quantizer import prepare_onnx
from edgepose.host.quantize.repair.equalization import (
    Equalization,
    equalized_constants,
    find_equalization,
)
from edgepose.host.quantize.repair.network import Network, Opaque, Sum
from edgepose.host.quantize.repair.onnx_network import (
    read_network,
    split_shared_constants,
    write_constants,
)
from edgepose.host.quantize.repair.scale_classes import ScaleClasses, find_scale_classes
from edgepose.runtime.activation_statistics import collect_statistics
from edgepose.runtime.backends.onnxruntime_tensors import OnnxTensors
from tests.support.onnx_networks import FAMILIES, UNPREPARED, random_inputs, random_network


def result(model: onnx.ModelProto, values: NDArray[Any]) -> NDArray[Any]:
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: values})[0])


def random_scales(classes: ScaleClasses, seed: int) -> NDArray[np.float64]:
    """Anything that is allowed: fixed classes, and those behind a bound, keep 1."""
    scales = np.exp(np.random.default_rng(seed).normal(size=classes.count))
    scales[classes.fixed] = 1.0
    for name, _ in classes.clipped:
        scales[classes.of_channel[name]] = 1.0
    return scales


def scaled(model: onnx.ModelProto, network: Network, seed: int) -> onnx.ModelProto:
    classes = find_scale_classes(network)
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    write_constants(
        changed, equalized_constants(network, Equalization(random_scales(classes, seed), classes, 0))
    )
    return changed


def relative_difference(one: onnx.ModelProto, other: onnx.ModelProto) -> float:
    differences = []
    for values in random_inputs(2, 5):
        expected = result(one, values)
        differences.append(float(np.abs(expected - result(other, values)).max() / np.abs(expected).max()))
    return max(differences)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("seed", [0, 1])
def test_allowed_scales_keep_the_float_output(family: str, seed: int) -> None:
    model = random_network(family, seed)
    split_shared_constants(model)
    changed = scaled(model, read_network(model), seed)
    assert changed != model
    assert relative_difference(model, changed) <= 1e-5


def test_wrong_tie_changes_the_float_output() -> None:
    model = random_network("sum", 0)
    split_shared_constants(model)
    network = read_network(model)
    network.steps = [
        replace(step, sources=step.sources[:1]) if isinstance(step, Sum) and step.constant is None else step
        for step in network.steps
    ]
    assert relative_difference(model, scaled(model, network, 0)) > 1e-2


def test_shared_weights_are_scaled_apart_once_split() -> None:
    model = random_network("sum", 0)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    convolutions[0].input[2] = convolutions[1].input[2]
    split_shared_constants(model)
    operands = [name for node in model.graph.node for name in node.input if name.startswith("c")]
    floats = [e.name for e in model.graph.initializer if e.data_type == onnx.TensorProto.FLOAT]
    assert all(operands.count(name) <= 1 for name in floats)
    assert relative_difference(model, scaled(model, read_network(model), 3)) <= 1e-5


def test_only_ops_without_a_reader_are_opaque() -> None:
    opaque = {}
    for family in FAMILIES:
        model = random_network(family, 0)
        opaque[family] = {step.name for step in read_network(model).steps if isinstance(step, Opaque)}
    assert {name: found for name, found in opaque.items() if found} == {
        "attention": {"Sigmoid"},
        "scale": {"Sigmoid"},
        "normalized": {"HardSigmoid", "Softmax"},
    }


@pytest.mark.shared_data
@pytest.mark.slow
def test_equalized_tinypose_gives_the_same_heatmaps(shared_data: Path, tmp_path: Path) -> None:
    model = prepare_onnx(shared_data / "models" / "tinypose_128x96.onnx")
    split_shared_constants(model)
    path = tmp_path / "prepared.onnx"
    onnx.save(model, path)
    network = read_network(model)
    random = np.random.default_rng(0)
    crops = [random.normal(size=(1, 3, 128, 96)).astype(np.float32) for _ in range(2)]
    found = find_equalization(network, collect_statistics(OnnxTensors(path), crops))
    assert found.predicted_db > 3
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    write_constants(changed, equalized_constants(network, found))
    expected = result(model, crops[0])
    assert np.abs(expected - result(changed, crops[0])).max() <= 1e-4 * np.abs(expected).max()


def test_channel_that_a_bound_cuts_keeps_its_scale(tmp_path: Path) -> None:
    model = random_network("clip", 0)
    split_shared_constants(model)
    path = tmp_path / "float.onnx"
    onnx.save(model, path)
    network = read_network(model)
    inputs = [values * 4 for values in random_inputs(4, 5)]
    found = find_equalization(network, collect_statistics(OnnxTensors(path), inputs))
    (clipped,) = found.classes.clipped
    assert (found.scales[found.classes.of_channel[clipped[0]]] == 1).any()
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    write_constants(changed, equalized_constants(network, found))
    assert changed != model
    for values in inputs:
        expected = result(model, values)
        assert np.abs(expected - result(changed, values)).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("family", [*FAMILIES, *UNPREPARED])
def test_preparation_keeps_the_float_output(family: str, tmp_path: Path) -> None:
    model = random_network(family, 0)
    path = tmp_path / "float.onnx"
    onnx.save(model, path)
    before = path.read_bytes()
    prepared = prepare_onnx(path)
    assert path.read_bytes() == before
    assert relative_difference(model, prepared) <= 1e-5
    left = {node.op_type for node in prepared.graph.node}
    # A mean that drops its axes is left as it is.
    expected = {"ReduceMean"} if family == "reduce" else set()
    assert left & {"BatchNormalization", "ReduceMean", "Sub", "Div"} == expected
    assert {entry.domain for entry in prepared.opset_import} == {""}
