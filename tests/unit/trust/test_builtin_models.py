"""The built-in models are opened by digest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.errors import ConfigError, ModelError
from edgepose.trust.builtin_models import find_builtin_models
from edgepose.trust.digests import sha256_of_file


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    (tmp_path / "pose.onnx").write_bytes(b"weights")
    entry = {"file": "pose.onnx", "sha256": sha256_of_file(tmp_path / "pose.onnx")}
    entry |= {"role": "pose", "precision": "float32"}
    manifest = {"schema": "edgepose.builtin/1", "licence": "none", "files": [entry]}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def test_a_model_is_found_by_role_and_precision(folder: Path) -> None:
    assert find_builtin_models(folder).path_of("pose", "float32") == folder / "pose.onnx"
    with pytest.raises(ConfigError, match="no built-in detector model in int8"):
        find_builtin_models(folder).path_of("detector", "int8")


def test_a_changed_or_missing_model_is_refused(folder: Path) -> None:
    (folder / "pose.onnx").write_bytes(b"weightz")
    with pytest.raises(ModelError, match=r"pose\.onnx is missing or was changed"):
        find_builtin_models(folder).path_of("pose", "float32")
    (folder / "pose.onnx").unlink()
    with pytest.raises(ModelError, match="missing or was changed"):
        find_builtin_models(folder).path_of("pose", "float32")


@pytest.mark.parametrize(
    "manifest",
    ["{", '{"schema":"edgepose.builtin/2","licence":"x","files":[]}', '{"schema":"edgepose.builtin/1"}'],
)
def test_a_damaged_manifest_is_refused(folder: Path, manifest: str) -> None:
    (folder / "manifest.json").write_text(manifest)
    with pytest.raises(ConfigError):
        find_builtin_models(folder)


def test_a_manifest_cannot_point_out_of_its_folder(folder: Path) -> None:
    text = (folder / "manifest.json").read_text().replace("pose.onnx", "../pose.onnx")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ConfigError, match="file"):
        find_builtin_models(folder)
