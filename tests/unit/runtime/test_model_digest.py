"""A model's digest covers all that decides what it computes; data outside are read whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgepose.errors import ModelError
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.inspect import inspect_model
from edgepose.runtime.model_file import sha256_of_model
from edgepose.runtime.open_model import open_backend
from edgepose.trust.digests import sha256_of_file, sha256_of_path
from tests.support.hostile_models import WEIGHTS_BYTES, external_onnx
from tests.support.tiny_networks import write_tiny_onnx, write_tiny_tflite


def _with_weights(folder: Path, value: float) -> Path:
    folder.mkdir()
    (folder / "w.bin").write_bytes(np.full(WEIGHTS_BYTES // 4, value, np.float32).tobytes())
    return external_onnx(folder / "m.onnx", "w.bin")


def test_models_with_different_weights_in_another_file_have_different_digests(tmp_path: Path) -> None:
    first, second = _with_weights(tmp_path / "a", 1.0), _with_weights(tmp_path / "b", 2.0)
    # The control: by their own bytes the two cannot be told apart.
    assert sha256_of_file(first) == sha256_of_file(second)
    assert sha256_of_model(first) != sha256_of_model(second)
    assert inspect_model(first).sha256 == sha256_of_model(first)
    again = _with_weights(tmp_path / "c", 1.0)
    assert sha256_of_model(again) == sha256_of_model(first)


def test_a_byte_that_no_tensor_takes_changes_nothing(tmp_path: Path) -> None:
    path = _with_weights(tmp_path / "a", 1.0)
    before = sha256_of_model(path)
    with (tmp_path / "a" / "w.bin").open("ab") as stream:
        stream.write(b"behind the weights")
    assert sha256_of_model(path) == before


@pytest.mark.parametrize("write", [write_tiny_onnx, write_tiny_tflite])
def test_the_digest_of_one_file_is_that_of_its_bytes(tmp_path: Path, write: object) -> None:
    path = write(tmp_path / "model")  # type: ignore[operator]
    assert sha256_of_model(path) == sha256_of_file(path)
    assert open_artifact(path).sha256 == sha256_of_file(path)


def test_the_digest_of_a_folder_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").write_bytes(b"x")
    assert sha256_of_model(tmp_path) == sha256_of_path(tmp_path)


def test_a_model_with_whole_data_outside_computes(tmp_path: Path) -> None:
    backend = open_backend(_with_weights(tmp_path / "a", 0.5))
    backend.load_input(lambda tensor: tensor.fill(1.0))
    backend.invoke()
    assert backend.read_outputs()[0].flat[0] == pytest.approx(6.0)


@pytest.mark.parametrize("cut", [0, 1, WEIGHTS_BYTES - 1])
def test_a_cut_data_file_is_refused_with_what_was_expected(tmp_path: Path, cut: int) -> None:
    path = _with_weights(tmp_path / "a", 1.0)
    os.truncate(tmp_path / "a" / "w.bin", cut)
    for reader in (sha256_of_model, inspect_model, open_backend):
        with pytest.raises(ModelError, match=f"{cut} bytes, but {WEIGHTS_BYTES}") as caught:
            reader(path)
        assert caught.value.exit_code == 5


def test_a_tensor_that_is_read_twice_is_listed_once_and_each_part_counts(tmp_path: Path) -> None:
    path = _with_weights(tmp_path / "a", 1.0)
    model = onnx.load(path, load_external_data=False)
    second = model.graph.initializer.add()
    second.CopyFrom(model.graph.initializer[0])
    second.name = "again"
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(3, np.float32), "inside"))
    path.write_bytes(model.SerializeToString())
    before = sha256_of_model(path)
    data = bytearray((tmp_path / "a" / "w.bin").read_bytes())
    data[-1] ^= 1
    (tmp_path / "a" / "w.bin").write_bytes(data)
    assert sha256_of_model(path) != before
