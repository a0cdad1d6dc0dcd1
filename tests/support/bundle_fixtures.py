"""Fixtures with whole bundles, built once a session; a test module imports those that it uses."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from edgepose.host.bundle.builder import build_bundle
from tests.support.archives import manifest_of, read_members, with_manifest, write_members
from tests.support.bundled_models import MatchedFilters, request_for


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``version1.epb`` to ``version3.epb`` and ``broken4.epb``.

    Versions 1 to 3 hold the same model. Version 4 has the weights of another one behind the golden poses of
    the first, as if the weights had been mixed up on the way.
    """
    folder = tmp_path_factory.mktemp("bundles")
    source = MatchedFilters().write(folder / "model.onnx")
    for version in (1, 2, 3):
        build_bundle(request_for(source, folder / f"version{version}.epb", bundle_version=version))
    other = MatchedFilters(seed=1).write(folder / "other.onnx")
    _with_other_model(folder / "version3.epb", other.read_bytes(), folder / "broken4.epb", 4)
    return folder


def _with_other_model(bundle: Path, model: bytes, target: Path, version: int) -> None:
    members = read_members(bundle)
    manifest = manifest_of(members)
    digest = hashlib.sha256(model).hexdigest()
    manifest["bundle_version"] = version
    manifest["model"]["sha256"] = digest
    for file in manifest["files"]:
        if file["path"] == "model.onnx":
            file.update(sha256=digest, size_bytes=len(model))
    members = [(name, model if name == "model.onnx" else content) for name, content in members]
    write_members(target, with_manifest(members, json.dumps(manifest).encode()))
