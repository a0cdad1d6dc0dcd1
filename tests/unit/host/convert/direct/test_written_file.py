"""The file itself: names, layout, bytes, delegation, and that the quantizer takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as tfl
from ai_edge_litert.interpreter import Interpreter

from edgepose.errors import ModelError
from edgepose.host.convert.direct.convert import convert_direct
from edgepose.host.convert.direct.graph_ir import Graph, Value
from edgepose.host.convert.direct.graph_pass import GraphPass, run_passes
from tests.unit.host.convert.direct.comparison import OnnxBuilder, compare


def _network(b: OnnxBuilder, batch: int | str = 1) -> list[str]:
    """A small residual heatmap network with an upsampling, a strided and a depthwise convolution."""
    x = b.op("Relu", b.conv(b.input(batch, 3, 32, 24, name="picture"), 3, 8, 3, strides=[2, 2]))
    y = b.op("Relu", b.conv(b.conv(x, 8, 8, 3, group=8), 8, 8))
    x = b.op("Add", x, y)
    z = b.conv(b.op("Relu", x), 8, 8, 3, strides=[2, 2])
    up = b.op(
        "Resize",
        z,
        "",
        b.constant([1, 1, 2, 2]),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )
    heat = b.conv(b.op("Add", x, up), 8, 5)
    score = b.op("Gemm", b.op("Flatten", b.op("GlobalAveragePool", z)), b.weights(8, 2), b.weights(2))
    return [heat, score]


@pytest.fixture
def converted(tmp_path: Path) -> Any:
    b = OnnxBuilder()
    return compare(b.save(tmp_path / "net.onnx", *_network(b))), tmp_path / "net.tflite"


def _tables(path: Path) -> Any:
    return tfl.ModelT.InitFromObj(tfl.Model.GetRootAs(path.read_bytes(), 0))


def test_numbers_and_axis_orders_are_reported(converted: Any) -> None:
    result, _ = converted
    heat, score = result.expected

    assert result.worst < 1e-5
    assert result.conversion.output_permutations == {heat: (0, 2, 3, 1), score: (0, 1)}
    assert result.conversion.input_permutations == {"picture": (0, 2, 3, 1)}


def test_one_delegate_takes_everything(converted: Any) -> None:
    result, _ = converted

    assert result.kinds["DELEGATE"] == 1
    assert "TRANSPOSE" not in result.conversion.op_counts


def test_no_activation_stands_alone(converted: Any) -> None:
    result, _ = converted

    assert not {"RELU", "RELU6"} & set(result.conversion.op_counts)


def test_signature_and_tensors_carry_the_onnx_names(converted: Any) -> None:
    result, path = converted
    interpreter = Interpreter(str(path))
    signature = interpreter.get_signature_list()["serving_default"]

    assert signature["inputs"] == ["picture"]
    assert sorted(signature["outputs"]) == sorted(result.expected)
    assert sorted(item["name"] for item in interpreter.get_output_details()) == sorted(result.expected)


def test_same_model_gives_same_bytes(converted: Any, tmp_path: Path) -> None:
    _, path = converted
    convert_direct(tmp_path / "net.onnx", tmp_path / "again.tflite")

    assert (tmp_path / "again.tflite").read_bytes() == path.read_bytes()


def test_constants_are_shared_and_aligned(converted: Any) -> None:
    _, path = converted
    raw = path.read_bytes()
    contents = [bytes(buffer.data) for buffer in _tables(path).buffers if buffer.data is not None]

    assert len(contents) == len(set(contents))
    assert all(raw.find(content) % 16 == 0 for content in contents if len(content) >= 64)


def test_dynamic_batch_becomes_one(tmp_path: Path) -> None:
    b = OnnxBuilder()
    path = b.save(tmp_path / "net.onnx", *_network(b, "batch"))

    assert compare(path).worst < 1e-5


def test_other_dynamic_axis_is_refused(tmp_path: Path) -> None:
    b = OnnxBuilder()
    path = b.save(tmp_path / "net.onnx", b.op("Relu", b.input(1, 3, "height", 8)))

    with pytest.raises(ModelError, match="axis 2"):
        convert_direct(path, tmp_path / "net.tflite")


def test_truncated_onnx_is_refused(tmp_path: Path) -> None:
    b = OnnxBuilder()
    path = b.save(tmp_path / "net.onnx", *_network(b))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(ModelError):
        convert_direct(path, tmp_path / "net.tflite")
    assert list(tmp_path.iterdir()) == [path]


def test_pass_that_breaks_a_shape_is_caught() -> None:
    graph = Graph()
    x = Value("x", (1, 4), np.dtype(np.float32))
    graph.inputs.append(x)
    graph.outputs = [graph.emit("ABS", [x], (1, 4))]

    def break_it(broken: Graph) -> int:
        broken.outputs[0].shape = (1, 5)
        return 1

    with pytest.raises(ModelError, match="ABS"):
        run_passes(graph, [GraphPass("break_it", break_it)])


def test_broken_contract_names_pass_and_property() -> None:
    graph = Graph()
    x = Value("x", (1, 4), np.dtype(np.float32))
    graph.inputs.append(x)
    graph.outputs = [graph.emit("ERF", [x], (1, 4))]

    with pytest.raises(ModelError, match=r"look ensures spelled.*ERF"):
        run_passes(graph, [GraphPass("look", lambda _graph: 0, ensures=("spelled",))])


@pytest.mark.filterwarnings("ignore:Warning. Enabling:UserWarning")
def test_quantizer_makes_an_integer_model_with_per_channel_weights(converted: Any) -> None:
    from ai_edge_quantizer import quantizer, recipe

    result, path = converted
    random = np.random.default_rng(3)
    tool = quantizer.Quantizer(str(path))
    tool.load_quantization_recipe(recipe.static_wi8_ai8())
    samples = [{"picture": random.standard_normal((1, 32, 24, 3)).astype(np.float32)} for _ in range(4)]
    model = tool.quantize(tool.calibrate({"serving_default": samples})).quantized_model
    tables = tfl.ModelT.InitFromObj(tfl.Model.GetRootAs(bytearray(model), 0))
    graph = tables.subgraphs[0]
    kinds = {tables.operatorCodes[op.opcodeIndex].builtinCode for op in graph.operators}
    axes = {
        tables.operatorCodes[op.opcodeIndex].builtinCode: graph.tensors[
            op.inputs[1]
        ].quantization.quantizedDimension
        for op in graph.operators
        if len(op.inputs) == 3
    }

    assert tfl.BuiltinOperator.RELU not in kinds
    assert axes[tfl.BuiltinOperator.CONV_2D] == 0
    assert axes[tfl.BuiltinOperator.DEPTHWISE_CONV_2D] == 3
    assert axes[tfl.BuiltinOperator.FULLY_CONNECTED] == 0
    assert tfl.TensorType.FLOAT32 not in {tensor.type for tensor in graph.tensors}
    heat = next(iter(result.expected))
    runner = Interpreter(model_content=bytes(model)).get_signature_runner()
    scale, zero = runner.get_input_details()["picture"]["quantization"]
    picture = np.clip(np.round(samples[0]["picture"] / scale) + zero, -128, 127).astype(np.int8)
    found = runner(picture=picture)
    exact = Interpreter(str(path)).get_signature_runner()(picture=samples[0]["picture"])
    assert np.corrcoef(found[heat].ravel(), exact[heat].ravel())[0, 1] > 0.99


def test_picture_that_is_nhwc_in_onnx_stays_as_it_is_and_costs_no_transpose(tmp_path: Path) -> None:
    b = OnnxBuilder()
    centred = b.op("Sub", b.input(1, 32, 24, 3), b.constant(0.5))
    x = b.conv(b.op("Transpose", centred, perm=[0, 3, 1, 2]), 3, 8, 3, strides=[2, 2])
    result = compare(b.save(tmp_path / "nhwc.onnx", b.conv(b.op("Relu", x), 8, 17)))

    assert result.worst < 1e-5
    assert result.conversion.input_permutations == {"x0": (0, 1, 2, 3)}
    assert "TRANSPOSE" not in result.kinds
