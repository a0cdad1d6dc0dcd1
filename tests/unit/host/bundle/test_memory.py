"""A bundle is packed, signed, read and opened piece by piece: no second copy of a model is ever held."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace as with_fields
from onnx import numpy_helper

from edgepose.errors import ConfigError
from edgepose.host.bundle.builder import build_bundle
from edgepose.host.bundle.signing import archive_pieces, sign_bundle
from edgepose.host.keys.ceremony import home_signer
from edgepose.records.files import write_whole
from edgepose.runtime.bundle_model import unpacked_bundle
from edgepose.runtime.model_file import ModelFile
from edgepose.trust.bundle_reader import verify_bundle
from tests.support.archives import read_members
from tests.support.bundled_models import MatchedFilters, request_for
from tests.support.signed_bundles import NOW, Signer

MIB = 1 << 20
MODEL_MIB = 32
# A second copy would be 32; what is held is a piece of a mebibyte or two.
MOST_MIB = 8


@pytest.fixture(name="model", scope="module")
def _model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose weights are nearly all ballast."""
    path = MatchedFilters().write(tmp_path_factory.mktemp("large") / "model.onnx")
    model = onnx.load(path)
    ballast = np.random.default_rng(0).standard_normal(MODEL_MIB * MIB // 4).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(ballast, "ballast"))
    onnx.save(model, path)
    return path


@pytest.fixture(name="bundle", scope="module")
def _bundle(model: Path) -> Path:
    request = request_for(model, model.with_name("large.epb"))
    budgets = with_fields(request.profile.budgets, bundle_mib=100.0)
    profile = with_fields(request.profile, budgets=budgets)
    return build_bundle(request_for(model, request.output, profile=profile))


def held_mib(work: Callable[[], object]) -> float:
    """The most that Python objects held meanwhile, above what there was."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1] / MIB
    finally:
        tracemalloc.stop()


def test_the_measure_sees_a_copy(model: Path) -> None:
    assert held_mib(model.read_bytes) > MODEL_MIB - 1


def test_packing_holds_no_copy(model: Path, bundle: Path, tmp_path: Path) -> None:
    manifest = verify_bundle(bundle)
    contents: dict[str, bytes | Path] = dict(read_members(bundle)[2:])
    contents["model.onnx"] = model
    again = tmp_path / "again.epb"
    assert held_mib(lambda: write_whole(again, archive_pieces(manifest, contents))) < MOST_MIB
    assert again.read_bytes() == bundle.read_bytes()


def test_verifying_unpacking_and_signing_hold_no_copy(bundle: Path, tmp_path: Path) -> None:
    sign = home_signer(Signer.make(tmp_path / "home").home, None, now=NOW)

    def unpack() -> None:
        with unpacked_bundle(bundle):
            pass

    for work in (
        lambda: verify_bundle(bundle),
        unpack,
        lambda: sign_bundle(bundle, tmp_path / "s.epb", sign),
    ):
        assert held_mib(work) < MOST_MIB


def test_a_model_is_mapped_and_not_read(model: Path) -> None:
    def look() -> None:
        opened = ModelFile(model)
        opened.check()
        assert opened.spec().name == "matched_filters"
        assert len(opened.sha256) == 64

    assert held_mib(look) < MOST_MIB


def test_a_model_that_changes_while_it_is_packed_gives_no_bundle(
    model: Path, bundle: Path, tmp_path: Path
) -> None:
    manifest = verify_bundle(bundle)
    contents: dict[str, bytes | Path] = dict(read_members(bundle)[2:])
    changed = tmp_path / "model.onnx"
    changed.write_bytes(model.read_bytes()[:-1] + b"x")
    contents["model.onnx"] = changed
    with pytest.raises(ConfigError, match="was changed while the bundle was made"):
        write_whole(tmp_path / "no.epb", archive_pieces(manifest, contents))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
