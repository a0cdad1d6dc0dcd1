"""Every tensor of a float model, with the runtime alone; a quantized model is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from edgepose.errors import ConfigError, ModelError
from edgepose.runtime.activation_statistics import open_float_tensors
from edgepose.runtime.backends.onnxruntime_tensors import OnnxTensors
from edgepose.runtime.wire_formats import protobuf_field, protobuf_fields
from tests.support.tiny_models import SHAPE, write_onnx, write_tflite


def test_appended_fields_extend_a_message() -> None:
    first, second = protobuf_field(12, b"a" * 300), protobuf_field(7, b"")
    assert list(protobuf_fields(first + second)) == [(12, b"a" * 300), (7, b"")]
    with pytest.raises(ValueError, match="past the end"):
        list(protobuf_fields(first[:-1]))


def test_onnx_tensors_are_those_that_the_onnx_package_would_expose(
    zoo_model: Callable[[str], Path],
) -> None:
    path = zoo_model("shuffle_heatmap")
    kept = OnnxTensors(path)
    model = onnx.load(path)
    computed = [name for node in model.graph.node if node.op_type != "Constant" for name in node.output]
    known = {output.name for output in model.graph.output}
    model.graph.output.extend(helper.ValueInfoProto(name=name) for name in computed if name not in known)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    (picture,) = session.get_inputs()
    values = np.random.default_rng(0).normal(size=picture.shape).astype(np.float32)
    kept.run(values)
    expected = dict(zip(computed, session.run(computed, {picture.name: values}), strict=True))
    floats = {name for name, value in expected.items() if value.dtype == np.float32}
    assert set(kept.names()) == floats
    assert len(floats) > 20
    assert all(
        kept.look_at(name, lambda found: found.copy()).shape == expected[name].shape for name in floats
    )
    assert all(np.array_equal(kept.tensor(name), expected[name]) for name in floats)
    assert kept.op_of(model.graph.node[-1].output[0]) == model.graph.node[-1].op_type


@pytest.mark.parametrize("write", [write_onnx, write_tflite])
def test_a_float_model_shows_every_tensor(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    kept = open_float_tensors(write(tmp_path / "model"))
    for _ in range(2):  # a view that outlived its look would stop the second run
        kept.run(np.ones(SHAPE, np.float32))
        means = [kept.look_at(name, lambda found: float(found.mean())) for name in kept.names()]
        assert means == pytest.approx([2.0, 3.0, 1 / (1 + np.exp(-3.0))])
    assert kept.input_name == "image0"


def _quantized_onnx(path: Path) -> Path:
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale"], ["stored"]),
        helper.make_node("DequantizeLinear", ["stored", "scale"], ["real"]),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("real", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor("scale", TensorProto.FLOAT, [], [0.1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def test_a_quantized_model_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is quantized.*--model"):
        open_float_tensors(_quantized_onnx(tmp_path / "int8.onnx"))


def test_a_model_that_no_runtime_loads_is_refused(marker_keras: Path) -> None:
    with pytest.raises(ConfigError, match="convert"):
        open_float_tensors(marker_keras)


def test_a_truncated_onnx_file_is_refused(tmp_path: Path) -> None:
    data = write_onnx(tmp_path / "whole.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelError, match="whole"):
        OnnxTensors(tmp_path / "half.onnx")
