"""Digests of files, folders and lists."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from edgepose.trust.digests import sha256_of_bytes, sha256_of_file, sha256_of_list, sha256_of_path


def test_a_file_larger_than_a_chunk_has_the_digest_of_its_bytes(tmp_path: Path) -> None:
    content = bytes(range(256)) * 5000
    (tmp_path / "f").write_bytes(content)
    expected = hashlib.sha256(content).hexdigest()
    assert (
        sha256_of_file(tmp_path / "f")
        == sha256_of_path(tmp_path / "f")
        == sha256_of_bytes(content)
        == expected
    )


def folder(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.mark.parametrize(
    "other",
    [{"a": b"1", "sub/b": b"3"}, {"a": b"1", "sub/c": b"2"}, {"a": b"1", "b": b"2"}, {"a": b"1"}],
    ids=["content", "name", "place", "missing file"],
)
def test_a_folder_changes_with_any_name_or_content(tmp_path: Path, other: dict[str, bytes]) -> None:
    files = {"a": b"1", "sub/b": b"2"}
    first = sha256_of_path(folder(tmp_path / "one", files))
    assert first == sha256_of_path(folder(tmp_path / "two", dict(reversed(files.items()))))
    assert first != sha256_of_path(folder(tmp_path / "three", other))


def test_what_is_not_there_has_no_digest(tmp_path: Path) -> None:
    """Else a missing model would have the digest of nothing, always the same."""
    with pytest.raises(FileNotFoundError):
        sha256_of_path(tmp_path / "missing")


def test_the_order_and_the_breaks_of_a_list_count() -> None:
    assert sha256_of_list(["ab", "c"]) != sha256_of_list(["a", "bc"]) != sha256_of_list(["bc", "a"])
