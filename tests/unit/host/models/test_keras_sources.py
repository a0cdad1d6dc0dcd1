"""Keras files are judged as data; the parts that load one take a TensorFlow process each, hence slow."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from edgepose.errors import ModelError
from edgepose.host.models.hdf5_check import read_hdf5_config
from edgepose.host.models.keras_intake import read_archive_config

PLAIN = {"class_name": "Functional", "module": "keras", "config": {"layers": [{"class_name": "Conv2D"}]}}


def _config_with(entry: dict[str, Any]) -> dict[str, Any]:
    return {"class_name": "Functional", "config": {"layers": [{"class_name": "Conv2D"}, {"deep": [entry]}]}}


def _write(path: Path, config: object) -> Path:
    text = json.dumps(config)
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("config.json", text)
            archive.writestr("model.weights.h5", b"")
    else:
        with h5py.File(path, "w") as stored:
            stored.attrs["model_config"] = text
    return path


def refuse_code_in_keras(path: Path) -> None:
    """What stands before Keras, for either format."""
    if path.suffix == ".keras":
        read_archive_config(path)
    else:
        read_hdf5_config(path, path.name)


both = pytest.mark.parametrize("name", ["model.keras", "model.h5"])


@both
def test_plain_layers_pass(tmp_path: Path, name: str) -> None:
    refuse_code_in_keras(_write(tmp_path / name, PLAIN))


@both
@pytest.mark.parametrize("layer", ["Lambda", "TFSMLayer", "__lambda__"])
def test_code_is_refused_however_deep(tmp_path: Path, name: str, layer: str) -> None:
    path = _write(tmp_path / name, _config_with({"class_name": layer, "module": "keras.layers"}))
    with pytest.raises(ModelError, match=layer) as caught:
        refuse_code_in_keras(path)
    assert caught.value.exit_code == 5


@both
@pytest.mark.parametrize("module", ["os", "subprocess", "keras_evil", "mine.layers"])
def test_a_class_from_outside_keras_is_refused(tmp_path: Path, name: str, module: str) -> None:
    path = _write(tmp_path / name, _config_with({"class_name": "system", "module": module}))
    with pytest.raises(ModelError, match=module):
        refuse_code_in_keras(path)


def test_weights_alone_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as stored:
        stored["kernel"] = [1.0, 2.0]
    with pytest.raises(ModelError, match="weights alone"):
        refuse_code_in_keras(tmp_path / "weights.h5")


@both
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, PLAIN)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"truncated|damaged"):
        refuse_code_in_keras(path)


def test_a_configuration_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{")
        archive.writestr("model.weights.h5", b"")
    with pytest.raises(ModelError, match="damaged"):
        refuse_code_in_keras(tmp_path / "model.keras")
