"""A short run of the bundle fuzz; the long one is ``benchmarks/fuzz_bundles.py``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest
import securesystemslib.signer._key as key_module

from edgepose.trust.bundle_reader import read_bundle

_BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture(name="fuzzer")
def _fuzzer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    import fuzz_bundles

    return fuzz_bundles


def test_no_harmed_bundle_is_taken_and_none_crashes_the_verifier(fuzzer: ModuleType, tmp_path: Path) -> None:
    shop = fuzzer.make_workshop(tmp_path)
    count = 15 * len(fuzzer.MUTATIONS)
    result = fuzzer.fuzz(shop, tmp_path, count, seed=1)
    assert (result.accepted, result.crashed) == ([], [])
    assert result.mutated.total() == count
    assert min(result.mutated.values()) >= 10
    assert result.controls >= 4


def test_the_same_holds_without_the_cryptography_package(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = fuzzer.make_workshop(tmp_path)
    mutations = [one for one in fuzzer.MUTATIONS if one.__name__ in {"signature", "metadata_byte"}]
    monkeypatch.setattr(fuzzer, "MUTATIONS", mutations)
    monkeypatch.setattr(key_module, "CRYPTO_IMPORT_ERROR", "not here")
    result = fuzzer.fuzz(shop, tmp_path, 20, seed=2)
    assert (result.accepted, result.crashed) == ([], [])


def test_a_verifier_that_does_not_look_at_signatures_is_caught(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzzer, "verify", lambda _anchor, path: read_bundle(path))
    result = fuzzer.fuzz(fuzzer.make_workshop(tmp_path), tmp_path, 2 * len(fuzzer.MUTATIONS), seed=1)
    assert {line.split()[0] for line in result.accepted} >= {"stolen_key", "signature", "metadata_byte"}


def test_a_verifier_that_breaks_is_caught(
    fuzzer: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = fuzzer.make_workshop(tmp_path)

    def verify(_anchor: object, path: Path) -> None:
        if path.read_bytes() != shop.whole:
            raise IndexError("a bug")

    monkeypatch.setattr(fuzzer, "verify", verify)
    assert len(fuzzer.fuzz(shop, tmp_path, 3, seed=1).crashed) == 6
