"""The container at its edges, against Python's own tar writer and against plain sums."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from edgepose.errors import ConfigError, TrustError
from edgepose.trust.builtin_models import find_builtin_models
from edgepose.trust.bundle_reader import (
    MAX_BUNDLE_BYTES,
    _Archive,
    header_for,
    header_name,
    header_size_bytes,
    header_type,
    padding_bytes,
    read_bundle,
)
from edgepose.trust.signed_bundle import MAX_METADATA_BYTES, MAX_ROOTS
from tests.support.archives import read_members, tar_entry, write_members
from tests.support.bundle_fixtures import bundle_folder
from tests.support.signed_bundles import Signer

__all__ = ["bundle_folder"]


def refusal(path: Path) -> str:
    with pytest.raises(TrustError) as refused:
        read_bundle(path)
    return refused.value.message


def test_a_bundle_has_the_digest_and_the_size_of_its_file(bundle_folder: Path) -> None:
    path = bundle_folder / "version1.epb"
    bundle = read_bundle(path)
    assert bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert bundle.size_bytes == path.stat().st_size
    assert (bundle.metadata, bundle.signed) == (None, None)


def test_the_metadata_is_what_stands_in_the_file(bundle_folder: Path, tmp_path: Path) -> None:
    signer = Signer.make(tmp_path / "keys")
    signer.rotate()
    path = signer.sign(bundle_folder / "version1.epb", tmp_path / "1.epb")
    bundle = read_bundle(path)
    assert bundle.metadata is not None
    assert bundle.metadata.members() == read_members(path)[:5]
    assert bundle.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", ["a", "a/b.txt", "x" * 100])
@pytest.mark.parametrize("size", [0, 1, 511, 512, 123_456, 8**11 - 1])
def test_a_header_is_the_one_that_pythons_tar_reads_and_writes(name: str, size: int) -> None:
    header, entry = header_for(name, size), tarfile.TarInfo(name)
    entry.size = size
    # Python leaves the device numbers of a file empty, where POSIX has zeros; the sum counts them.
    written = entry.tobuf(tarfile.USTAR_FORMAT)
    assert header[:148] + header[156:329] + header[345:] == written[:148] + written[156:329] + written[345:]
    assert header[329:345] == b"0000000\0" * 2
    read = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    assert (read.name, read.size, read.mode, read.mtime) == (name, size, 0o644, 0)
    assert header_name(header_for(name, size)) == name
    assert header_size_bytes(header_for(name, size)) == size


@pytest.mark.parametrize(("name", "size"), [("", 1), ("x" * 101, 1), ("a", -1), ("a", 8**11)])
def test_what_fits_no_header_is_refused(name: str, size: int) -> None:
    with pytest.raises(ValueError, match="does not fit a USTAR header"):
        header_for(name, size)


@pytest.mark.parametrize(
    ("digits", "size"),
    [
        (b"00000000017", 15),
        (b"00000000018", None),
        (b"00000000091", None),
        (b"0000000001 ", None),
        (b"        001", None),
        (b"\x80\0\0\0\0\0\0\0\0\0\1", None),
        (b"-0000000001", None),
    ],
)
def test_a_size_is_plain_octal_or_nothing(digits: bytes, size: int | None) -> None:
    header = header_for("a", 1)
    assert header_size_bytes(header[:124] + digits + header[135:]) == size


@pytest.mark.parametrize(
    ("kind", "words"),
    [(tarfile.SYMTYPE, "symbolic link"), (tarfile.DIRTYPE, "folder"), (b"Z", "entry of unknown type b'Z'")],
)
def test_an_entry_says_what_it_is(kind: bytes, words: str) -> None:
    assert header_type(tar_entry("a", kind)) == words


@pytest.mark.parametrize(("size", "padding"), [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511)])
def test_content_is_filled_up_to_blocks_of_512(size: int, padding: int) -> None:
    assert padding_bytes(size) == padding


def sparse(path: Path, size: int) -> Path:
    with path.open("wb") as stream:
        stream.truncate(size)
    return path


def test_a_bundle_has_at_most_a_gibibyte(tmp_path: Path) -> None:
    assert MAX_BUNDLE_BYTES == 2**30
    assert "expected 1 to 1073741824" in refusal(sparse(tmp_path / "a", 2**30 + 1))
    assert "expected 1 to" in refusal(sparse(tmp_path / "b", 0))
    # Its zeros are no bundle, and are not too many.
    assert "is missing" in refusal(sparse(tmp_path / "c", 2**30))


def test_metadata_is_bounded_a_file(tmp_path: Path) -> None:
    for size, too_large in ((MAX_METADATA_BYTES, False), (MAX_METADATA_BYTES + 1, True)):
        for name in ("metadata/1.root.json", "metadata/timestamp.json"):
            before = [] if "root" in name else [("metadata/1.root.json", b"{}")]
            path = write_members(tmp_path / "m.epb", [*before, (name, bytes(size))])
            assert (f"'{name}' has {size} bytes, expected at most {2**18}" in refusal(path)) == too_large


def test_no_more_roots_are_read_than_may_be_followed(tmp_path: Path) -> None:
    roots = [(f"metadata/{n}.root.json", b"{}") for n in range(1, MAX_ROOTS + 2)]
    assert "'metadata/timestamp.json' is missing" in refusal(write_members(tmp_path / "a", roots[:-1]))
    assert "found 'metadata/257.root.json' where 'metadata/timestamp.json'" in refusal(
        write_members(tmp_path / "b", roots)
    )


def test_a_file_that_cannot_be_read_on_is_the_users_matter(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read(self, _size: int | None = -1) -> bytes:
            raise OSError(5, os.strerror(5))

    with pytest.raises(ConfigError, match=r"Cannot read the bundle .*: Input/output error"):
        _Archive(tmp_path / "a", Failing(), 10).read(5, "its end")


def test_content_is_handed_on_in_pieces_of_at_most_a_mebibyte(bundle_folder: Path) -> None:
    pieces: list[tuple[str, int]] = []
    bundle = read_bundle(
        bundle_folder / "version1.epb", lambda name, piece: pieces.append((name, len(piece)))
    )
    for file in bundle.manifest.files:
        sizes = [size for name, size in pieces if name == file.path]
        assert sum(sizes) == file.size_bytes
        assert max(sizes) <= 2**20


def test_a_manifest_of_the_built_in_models_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for content in (None, b"\xff\xfe"):
        if content is not None:
            (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(ConfigError, match=r"Cannot read .*manifest\.json"):
            find_builtin_models(tmp_path)


def test_the_built_in_models_that_ship_are_whole() -> None:
    models = find_builtin_models()
    for entry in models.manifest.files:
        path = models.path_of(entry.role, entry.precision)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model.onnx", "metadata/targets.json"])
def test_a_byte_behind_a_file_is_found(bundle_folder: Path, tmp_path: Path, name: str) -> None:
    signed = Signer.make(tmp_path / "keys").sign(bundle_folder / "version1.epb", tmp_path / "1.epb")
    content = bytearray(signed.read_bytes())
    with tarfile.open(signed) as archive:
        entry = archive.getmember(name)
    assert entry.size % 512
    last = entry.offset_data + (entry.size + 511) // 512 * 512 - 1
    for place in {entry.offset_data + entry.size, last}:
        content[place] = 1
        (tmp_path / "changed.epb").write_bytes(content)
        assert f"bytes are hidden behind '{name}'" in refusal(tmp_path / "changed.epb")
        content[place] = 0
