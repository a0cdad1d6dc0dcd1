"""What a model file is, told without running it; damaged files end in one clear sentence."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgepose.errors import ConfigError, EdgeposeError, ModelError
from edgepose.host.models.artifact import open_artifact, write_metadata
from edgepose.host.models.inspect import describe_inspection, inspect_model
from edgepose.records.model_spec import SPEC_METADATA_KEY, spec_to_json
from edgepose.records.record import to_builtins
from tests.support.tiny_models import write_onnx, write_tflite
from tests.support.tiny_networks import tiny_spec, write_tiny_onnx, write_tiny_tflite

CLI_KEYS = {
    "schema", "format", "precision", "size_bytes", "sha256", "inputs", "outputs", "ops", "integer_only",
    "float_ops", "spec",
}  # fmt: skip


def test_an_onnx_file_is_described(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "model.bin")
    report = inspect_model(path)
    assert (report.format, report.precision, report.integer_only) == ("onnx", "float32", False)
    assert report.ops == report.float_ops == {"Conv": 2, "Relu": 1}
    assert [(t.name, t.shape, t.dtype) for t in report.inputs] == [("image", (1, 3, 32, 24), "float32")]
    assert [(t.name, t.shape) for t in report.outputs] == [("heatmaps", (1, 17, 16, 12))]
    assert report.size_bytes == path.stat().st_size
    assert report.spec == tiny_spec("NCHW")
    assert report.missing == ()
    assert set(to_builtins(report)) >= CLI_KEYS


def test_a_tflite_file_is_described(tmp_path: Path) -> None:
    report = inspect_model(write_tiny_tflite(tmp_path / "model.bin"))
    assert (report.format, report.precision, report.ops) == ("tflite", "float32", {"CONV_2D": 2})
    assert [t.shape for t in report.inputs] == [(1, 32, 24, 3)]
    assert "CONV_2D 2" in describe_inspection(report)


def test_a_model_without_a_spec_says_what_is_missing(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    report = inspect_model(path)
    assert report.spec is None
    assert "--spec" in report.missing[0]
    with pytest.raises(ConfigError, match="no spec"):
        open_artifact(path)


def test_a_spec_of_another_size_is_named(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    write_metadata(path, {SPEC_METADATA_KEY: spec_to_json(tiny_spec("NHWC"))})
    (problem,) = inspect_model(path).missing
    assert "(1, 32, 24, 3)" in problem
    assert "(1, 4, 6, 3)" in problem


def test_the_spec_inside_wins_over_the_given_one(tmp_path: Path) -> None:
    given = tmp_path / "other.toml"
    given.write_text("not = 'a spec'\n")
    artifact = open_artifact(write_tiny_onnx(tmp_path / "model.onnx"), given)
    assert artifact.spec == tiny_spec("NCHW")


@pytest.mark.parametrize(("weights", "expected"), [("float16", "float16"), ("int8", "mixed")])
def test_stored_weights_decide_the_precision(tmp_path: Path, weights: str, expected: str) -> None:
    stored = np.ones((4, 3, 1, 1), weights)
    if weights == "float16":
        opener = [helper.make_node("Cast", ["w"], ["real"], to=TensorProto.FLOAT)]
        constants = [numpy_helper.from_array(stored, "w")]
    else:
        opener = [helper.make_node("DequantizeLinear", ["w", "step"], ["real"])]
        constants = [numpy_helper.from_array(stored, "w"), numpy_helper.from_array(np.float32(0.1), "step")]
    nodes = [*opener, helper.make_node("Conv", ["image", "real"], ["out"])]
    shapes = (1, 3, 8, 8), (1, 4, 8, 8)
    values = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, s)
        for n, s in zip(("image", "out"), shapes, strict=True)
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], constants)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        tmp_path / "model.onnx",
    )
    assert inspect_model(tmp_path / "model.onnx").precision == expected


def test_an_op_that_onnx_does_not_know_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.node[0].op_type = "Mulch"
    onnx.save(model, path)
    with pytest.raises(ModelError, match="Mulch") as caught:
        inspect_model(path)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"not a model", b"\x89PNG\r\n\x1a\n" + b"\0" * 99, b"PK\x03\x04junk"]
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        inspect_model(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        inspect_model(tmp_path / "nowhere.onnx")


@pytest.mark.parametrize("write", [write_tiny_onnx, write_tiny_tflite, write_onnx, write_tflite])
def test_a_model_cut_anywhere_is_refused_with_exit_code_5(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "model")
    whole = path.read_bytes()
    inspect_model(path)  # the whole file is fine: the refusals below are about the cut
    for length in range(0, len(whole) - 4, max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError) as caught:
            inspect_model(path)
        assert caught.value.exit_code == 5


@pytest.mark.parametrize("write", [write_tiny_onnx, write_tflite])
def test_damaged_bytes_never_end_in_a_traceback(tmp_path: Path, write: Callable[..., Path]) -> None:
    path = write(tmp_path / "model")
    whole = path.read_bytes()
    generator = random.Random(3)  # noqa: S311
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(generator.choice((1, 3, 20))):
            damaged[generator.randrange(len(damaged))] = generator.randrange(256)
        path.write_bytes(damaged)
        try:
            inspect_model(path)
        except EdgeposeError:
            refused += 1
    assert refused > 50
