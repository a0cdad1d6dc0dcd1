"""Spec and lineage inside model files: written, replaced, read back, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.errors import ConfigError, ModelError
from edgepose.host.models.artifact import write_metadata
from edgepose.runtime.backend import run_once
from edgepose.runtime.model_file import read_metadata
from edgepose.runtime.open_model import open_backend
from tests.support.tiny_models import SHAPE, expected_output, write_onnx, write_tflite

WRITERS: dict[str, Callable[..., Path]] = {"model.onnx": write_onnx, "model.tflite": write_tflite}
# A NUL ends a text in both formats' readers, and lone surrogates are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60)
NAMES = TEXT.filter(bool)

each_format = pytest.mark.parametrize("name", WRITERS)


@each_format
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(entries=st.dictionaries(NAMES, TEXT, max_size=4))
def test_any_text_comes_back(tmp_path: Path, name: str, entries: dict[str, str]) -> None:
    path = WRITERS[name](tmp_path / name)
    write_metadata(path, entries)
    assert read_metadata(path) == entries


@each_format
def test_entries_are_replaced_and_others_kept(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name, metadata={"foreign": "theirs", "edgepose": "old"})
    write_metadata(path, {"edgepose": "new"})
    assert read_metadata(path) == {"foreign": "theirs", "edgepose": "new"}


@each_format
def test_the_same_entries_give_the_same_bytes(tmp_path: Path, name: str) -> None:
    first, second = (WRITERS[name](tmp_path / f"{i}-{name}") for i in range(2))
    write_metadata(first, {"edgepose": "a", "edgepose.lineage": "b"})
    write_metadata(second, {"edgepose": "a", "edgepose.lineage": "b"})
    once = first.read_bytes()
    write_metadata(first, {"edgepose": "a", "edgepose.lineage": "b"})
    assert first.read_bytes() == second.read_bytes() == once


@each_format
def test_the_model_computes_the_same_afterwards(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    write_metadata(path, {"edgepose": "x" * 1000})
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    (output,) = run_once(open_backend(path), values)
    np.testing.assert_allclose(output, expected_output(values), atol=1e-6)


def test_tflite_buffers_start_at_multiples_of_16(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema

    path = write_tflite(tmp_path / "model.tflite", metadata={"odd": "123"})
    write_metadata(path, {"edgepose": "12345"})
    model = schema.Model.GetRootAs(path.read_bytes(), 0)
    buffers = [model.Buffers(index) for index in range(model.BuffersLength())]
    starts = [b._tab.Vector(b._tab.Offset(4)) for b in buffers if b.DataLength()]
    assert len(starts) >= 4
    assert all(start % 16 == 0 for start in starts)


def test_an_entry_that_shares_its_buffer_with_a_tensor_leaves_the_tensor_alone(tmp_path: Path) -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    path = write_tflite(tmp_path / "model.tflite", metadata={"edgepose": "old"})
    graph = flatbuffer_utils.read_model(str(path))
    constant = next(t for t in graph.subgraphs[0].tensors if t.buffer)
    graph.metadata[0].buffer = constant.buffer
    path.write_bytes(bytes(flatbuffer_utils.convert_object_to_bytearray(graph)))
    write_metadata(path, {"edgepose": "new"})
    values = np.ones(SHAPE, np.float32)
    (output,) = run_once(open_backend(path), values)
    np.testing.assert_allclose(output, expected_output(values), atol=1e-6)
    assert read_metadata(path) == {"edgepose": "new"}


@each_format
def test_a_truncated_file_is_refused_and_stays_as_it_was(tmp_path: Path, name: str) -> None:
    path = WRITERS[name](tmp_path / name)
    cut = path.read_bytes()[:-40]
    path.write_bytes(cut)
    with pytest.raises(ModelError):
        write_metadata(path, {"edgepose": "x"})
    assert path.read_bytes() == cut
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_file_that_cannot_be_written_is_a_config_error(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx")
    with path.open("rb") as stream:
        blocked = Path(f"/proc/self/fd/{stream.fileno()}")  # readable, and nothing can be made beside it
        with pytest.raises(ConfigError, match="Cannot write"):
            write_metadata(blocked, {"edgepose": "x"})


def test_onnx_metadata_that_are_not_text_are_refused(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "model.onnx", metadata={"edgepose": "MARK"})
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xff\xfe\xfd\xfc"))
    with pytest.raises(ModelError, match="metadata"):
        write_metadata(path, {"other": "x"})


def test_equal_scales_and_zero_points_are_written_once_and_read_as_before(tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    channels, sizes = 1000, {}
    for equal in (True, False):
        path = write_tflite(tmp_path / "model.tflite")
        graph = flatbuffer_utils.read_model(str(path))
        for index, tensor in enumerate(graph.subgraphs[0].tensors):
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.full(channels, 0.5, np.float32)
            # Negative control: unlike vectors are all kept.
            tensor.quantization.zeroPoint = np.full(channels, 0 if equal else index, np.int64)
        path.write_bytes(flatbuffer_utils.convert_object_to_bytearray(graph))
        write_metadata(path, {"key": "text"})
        sizes[equal] = path.stat().st_size
        found = flatbuffer_utils.read_model(str(path)).subgraphs[0].tensors
        for mine, theirs in zip(graph.subgraphs[0].tensors, found, strict=True):
            np.testing.assert_array_equal(theirs.quantization.zeroPoint, mine.quantization.zeroPoint)
            np.testing.assert_array_equal(theirs.quantization.scale, mine.quantization.scale)
    # Each vector left out saves its length and padding, too.
    assert sizes[False] - sizes[True] == pytest.approx(8 * channels * (len(found) - 1), rel=0.01)
