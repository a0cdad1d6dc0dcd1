"""Whole conversions of tiny networks: what is written, what is refused, what stays untouched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from edgepose.errors import ConfigError, ModelError
from edgepose.host.convert.conversion import ConversionRequest, ConversionResult, convert_model, finish_tflite
from edgepose.host.convert.routes import fix_sizes
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.tflite_view import first_signature, read_tflite
from edgepose.runtime.backend import run_once
from edgepose.runtime.open_model import open_backend
from tests.support.tiny_networks import tiny_spec, write_tiny_onnx, write_tiny_tflite


def _open_batch(path: Path) -> Path:
    """Leaves the batch of input and output open, as exporters do."""
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.save(model, path)
    return path


def _to_onnx(path: Path, output: Path) -> ConversionResult:
    return convert_model(ConversionRequest(open_artifact(path), "onnx", output))


def test_onnx_gets_a_fixed_batch_and_keeps_its_numbers_spec_and_names(tmp_path: Path) -> None:
    source = _open_batch(write_tiny_onnx(tmp_path / "model.onnx"))
    before = source.read_bytes()
    result = _to_onnx(source, tmp_path / "out.anything")
    assert source.read_bytes() == before
    assert result.record.model.inputs[0].shape == (1, 3, 32, 24)
    assert result.record.model.outputs[0].shape == (1, 17, 16, 12)
    assert result.artifact.spec == tiny_spec("NCHW")
    values = np.random.default_rng(0).normal(size=(1, 3, 32, 24)).astype(np.float32)
    (parent,), (child,) = (run_once(open_backend(p), values) for p in (source, result.artifact.path))
    np.testing.assert_allclose(child, parent, atol=1e-5)


def test_only_standard_ops_are_written(tmp_path: Path) -> None:
    result = _to_onnx(write_tiny_onnx(tmp_path / "model.onnx"), tmp_path / "out.onnx")
    model = onnx.load(result.artifact.path)
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}


def test_constants_are_folded(tmp_path: Path) -> None:
    path = write_tiny_onnx(tmp_path / "model.onnx")
    model = onnx.load(path)
    model.graph.node.insert(0, helper.make_node("Identity", ["w2"], ["w2_again"]))
    next(n for n in model.graph.node if n.name == "conv2").input[1] = "w2_again"
    onnx.save(model, path)
    assert open_artifact(path)
    assert _to_onnx(path, tmp_path / "out.onnx").record.model.ops == {"Conv": 2, "Relu": 1}


def test_the_history_is_inside_and_grows(tmp_path: Path) -> None:
    first = _to_onnx(write_tiny_onnx(tmp_path / "model.onnx"), tmp_path / "first.onnx").artifact
    second = _to_onnx(first.path, tmp_path / "second.onnx").artifact
    assert first.lineage is not None
    assert second.lineage is not None
    assert [parent.file_name for parent in second.lineage.parents] == ["model.onnx", "first.onnx"]
    assert second.lineage.parents[1].sha256 == first.sha256
    assert second.lineage.golden == first.lineage.golden != ()
    assert second.lineage.precision == "float32"


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    source = write_tiny_onnx(tmp_path / "model.onnx")
    outputs = [_to_onnx(source, tmp_path / f"{i}.onnx").artifact.path.read_bytes() for i in range(2)]
    assert outputs[0] == outputs[1]


def test_another_size_than_the_specs_is_refused(tmp_path: Path) -> None:
    source = open_artifact(write_tiny_onnx(tmp_path / "model.onnx"))
    other = tiny_spec("NHWC").input
    with pytest.raises(ModelError, match="spec says input"):
        fix_sizes(source.path, other, tmp_path / "out.onnx")


def test_a_parent_that_gives_nan_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    source = write_tiny_onnx(tmp_path / "model.onnx", weight=float("nan"))
    with pytest.raises(ModelError, match="NaN"):
        _to_onnx(source, tmp_path / "out.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]


def test_a_failed_conversion_keeps_what_was_there(tmp_path: Path) -> None:
    source = write_tiny_onnx(tmp_path / "model.onnx", weight=float("nan"))
    output = tmp_path / "out.onnx"
    output.write_bytes(b"precious")
    with pytest.raises(ModelError):
        _to_onnx(source, output)
    assert output.read_bytes() == b"precious"


def test_the_source_is_never_its_own_output(tmp_path: Path) -> None:
    source = write_tiny_onnx(tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="the source itself"):
        _to_onnx(source, source)


@pytest.mark.parametrize("target", ["onnx", "tflite"])
def test_a_way_that_does_not_exist_is_refused_with_those_that_do(tmp_path: Path, target: str) -> None:
    source = open_artifact(write_tiny_tflite(tmp_path / "model.tflite"))
    request = ConversionRequest(source, target, tmp_path / "out")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="ONNX to TFLite or ONNX") as caught:
        convert_model(request)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("precision", ["int8", "mixed", "float16"])
def test_only_a_float32_model_becomes_tflite(tmp_path: Path, precision: str) -> None:
    opened = open_artifact(write_tiny_onnx(tmp_path / "model.onnx"))
    source = replace(opened, contents=replace(opened.contents, precision=precision))
    with pytest.raises(ModelError, match=precision):
        convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite"))


def test_a_missing_folder_is_refused_before_any_work(tmp_path: Path) -> None:
    source = write_tiny_onnx(tmp_path / "model.onnx")
    with pytest.raises(ConfigError, match="folder does not exist"):
        _to_onnx(source, tmp_path / "nowhere" / "out.onnx")


def test_finishing_names_input_and_output_and_adds_the_signature(tmp_path: Path) -> None:
    path = write_tiny_tflite(tmp_path / "model.tflite", signature=False)
    with pytest.raises(ModelError, match="no signature"):
        first_signature(read_tflite(path.read_bytes()))
    (output,) = open_backend(path).outputs
    finished = finish_tflite(path.read_bytes(), "picture", {output.name: "maps"})
    path.write_bytes(finished)
    assert first_signature(read_tflite(finished)) == ("serving_default", "picture")
    backend = open_backend(path)
    assert backend.input.name == "picture"
    assert [info.name for info in backend.outputs] == ["maps"]
