"""Reads a bundle and believes nothing that it has not checked.

Steps, each labelled in the code:

1. The file is a regular file of a bounded size.
2. A signed bundle begins with its metadata, and ``verify`` decides about it before anything else is read.
3. The next two entries are the manifest and its digest; they agree, and it is the manifest that was signed.
4. The manifest is a strict record: no unknown, missing or repeated key. It lists exactly what was signed.
5. Every further entry is listed, in order, with exactly its header, size and digest.
6. Nothing is missing, and nothing follows the end.

Without ``verify`` this finds damage and malformed archives, not a forger.

The bundle's container: an uncompressed USTAR archive in exactly one possible form.

Every header is a function of name and size alone: a regular file, mode 0644, no owner, no time. The
reader compares headers with the one the writer would have made, so links, devices, extensions and
hidden data between the files have no place to be. Any ``tar`` can list and unpack it (POSIX.1-1988).
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from edgepose.errors import ConfigError, TrustError
from edgepose.records.bundle_manifest import (
    MANIFEST_DIGEST_NAME,
    MANIFEST_NAME,
    BundleManifest,
    current_manifest,
    path_problem,
)
from edgepose.records.record import from_builtins
from edgepose.trust.digests import sha256_of_bytes
from edgepose.trust.signed_bundle import (
    FIRST_ROOT_NAME,
    LEAF_NAMES,
    MAX_METADATA_BYTES,
    MAX_ROOTS,
    BundleMetadata,
    SignedBundle,
    Verify,
    root_name,
)

BLOCK_BYTES = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)
_TYPES = {
    b"0": "regular file",
    b"\0": "old-style regular file",
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "character device",
    b"4": "block device",
    b"5": "folder",
    b"6": "FIFO",
    b"g": "pax header",
    b"x": "pax header",
    b"L": "GNU long name",
    b"K": "GNU long link",
}


def header_for(name: str, size_bytes: int) -> bytes:
    """The only header that a file of this name and size may have.

    Raises:
        ValueError: The name or size does not fit a USTAR header.
    """
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= 100 or not 0 <= size_bytes < 8**11:
        raise ValueError(f"'{name}' of {size_bytes} bytes does not fit a USTAR header")
    fields = (
        encoded.ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,  # mode, uid, gid
        b"%011o\0" % size_bytes,
        b"0" * 11 + b"\0",  # mtime
        b" " * 8,  # the checksum counts itself as spaces
        b"0" + bytes(100),  # regular file, no link name
        b"ustar\0" + b"00",
        bytes(64),  # no owner's name, no group's name
        b"0000000\0" * 2,  # device numbers
        bytes(155 + 12),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def header_name(header: bytes) -> str:
    """The name that a header claims, made printable."""
    return header[:100].rstrip(b"\0").decode("ascii", errors="backslashreplace")


def header_size_bytes(header: bytes) -> int | None:
    """The size that a header claims, or None where it is not a plain octal number."""
    digits = header[124:135]
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None


def header_type(header: bytes) -> str:
    """What kind of entry a header claims, in words."""
    return _TYPES.get(header[156:157], f"entry of unknown type {header[156:157]!r}")


def padding_bytes(size_bytes: int) -> int:
    """How many zero bytes follow a file's content."""
    return -size_bytes % BLOCK_BYTES


MAX_BUNDLE_BYTES = 1 << 30
MAX_MANIFEST_BYTES = 4 << 20
_CHUNK_BYTES = 1 << 20

OnContent = Callable[[str, bytes], None]

# Where and how a USTAR header names its format (POSIX.1-1988).
_MAGIC_AT, _MAGIC = 257, b"ustar"


@dataclass(frozen=True)
class VerifiedBundle:
    """A bundle whose every byte was accounted for.

    Attributes:
        manifest: Its manifest.
        manifest_bytes: The manifest as it stands in the file.
        sha256: Digest of the whole file.
        size_bytes: Size of the whole file.
        metadata: The signing metadata as it stands in the file; None for an unsigned bundle.
        signed: What ``verify`` answered; None for an unsigned bundle, and where it was not asked.
    """

    manifest: BundleManifest
    manifest_bytes: bytes
    sha256: str
    size_bytes: int
    metadata: BundleMetadata | None = None
    signed: SignedBundle | None = None


def verify_bundle(path: Path) -> BundleManifest:
    """Checks a whole bundle and returns its manifest.

    Raises:
        ConfigError: The file cannot be opened.
        TrustError: Anything about it is not as it must be.
    """
    return read_bundle(path).manifest


def read_bundle(
    path: Path, on_content: OnContent | None = None, verify: Verify | None = None
) -> VerifiedBundle:
    """Checks a whole bundle while handing on its content.

    Args:
        path: The bundle.
        on_content: Called with a listed file's path and the next piece of its content, in order, at least
            once a file. The content is only to be believed once this function has returned.
        verify: Decides whether the signatures are good enough; None reads them and believes nothing.

    Raises:
        ConfigError: The file cannot be opened.
        TrustError: Anything about it is not as it must be.
    """
    with _opened(path) as archive:
        first = archive.next_size(FIRST_ROOT_NAME, MANIFEST_NAME)
        metadata = None
        if first[0] != MANIFEST_NAME:
            metadata = _read_metadata(archive, first[1])
            first = archive.next_size(MANIFEST_NAME)
        signed = verify(metadata) if verify is not None else None  # step 2
        manifest, manifest_bytes = _read_manifest(archive, first[1], signed)
        for file in manifest.files:
            archive.enter(file.path, file.size_bytes)
            digest = archive.copy(file.path, file.size_bytes, on_content)
            if digest != file.sha256:
                archive.refuse(f"'{file.path}' has sha256 {digest}, the manifest says {file.sha256}")
        archive.finish()  # step 6
        digest = archive.digest.hexdigest()
        return VerifiedBundle(manifest, manifest_bytes, digest, archive.size_bytes, metadata, signed)


class _Archive:
    """The archive's bytes in order; every read is counted, hashed and bounded."""

    def __init__(self, path: Path, stream: BinaryIO, size_bytes: int) -> None:
        self._path = path
        self._stream = stream
        self._seen: set[str] = set()
        self.size_bytes = size_bytes
        self.digest = hashlib.sha256()

    def refuse(self, reason: str) -> NoReturn:
        raise TrustError(f"{self._path} is refused: {reason}.", "Build or copy the bundle again.")

    def read(self, count: int, what: str) -> bytes:
        try:
            data = self._stream.read(count)
        except OSError as problem:
            raise ConfigError(f"Cannot read the bundle {self._path}: {problem.strerror}.") from problem
        if len(data) != count:
            self.refuse(f"it is truncated in {what}")
        self.digest.update(data)
        return data

    def next_size(self, *allowed: str) -> tuple[str, int]:
        """Reads a header and checks all that can be checked by itself (step 5).

        Returns:
            Which of the allowed names it has, and the size.
        """
        expected = allowed[-1]
        header = self.read(BLOCK_BYTES, f"the header of '{expected}'")
        if header == bytes(BLOCK_BYTES):
            self.refuse(f"'{expected}' is missing")
        if header[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
            self.refuse(f"no archive header stands where '{expected}' should begin, so it is no whole bundle")
        name, size_bytes = header_name(header), header_size_bytes(header)
        if header[156:157] != b"0":
            self.refuse(f"'{name}' is a {header_type(header)}, expected a regular file")
        problem = path_problem(name)
        if problem:
            self.refuse(f"the path '{name}' {problem}")
        if name in self._seen:
            self.refuse(f"'{name}' is there twice")
        if name not in allowed:
            self.refuse(f"found '{name}' where '{expected}' was expected; it is not listed or out of order")
        if size_bytes is None or header != header_for(name, size_bytes):
            self.refuse(f"the header of '{name}' is not the one a bundle has")
        self._seen.add(name)
        return name, size_bytes

    def enter(self, name: str, size_bytes: int) -> None:
        _, found = self.next_size(name)
        if found != size_bytes:
            self.refuse(f"'{name}' has {found} bytes, the manifest says {size_bytes}")

    def copy(self, name: str, size_bytes: int, on_content: OnContent | None) -> str:
        """Passes on one file's content and returns its digest."""
        digest, left = hashlib.sha256(), size_bytes
        while True:
            piece = self.read(min(left, _CHUNK_BYTES), f"'{name}'")
            digest.update(piece)
            left -= len(piece)
            if on_content is not None:
                on_content(name, piece)
            if left == 0:
                break
        self.skip_padding(name, size_bytes)
        return digest.hexdigest()

    def content(self, name: str, size_bytes: int, limit: int) -> bytes:
        """Takes in one small file."""
        if size_bytes > limit:
            self.refuse(f"'{name}' has {size_bytes} bytes, expected at most {limit}")
        content = self.read(size_bytes, f"'{name}'")
        self.skip_padding(name, size_bytes)
        return content

    def skip_padding(self, name: str, size_bytes: int) -> None:
        count = padding_bytes(size_bytes)
        if self.read(count, f"the padding of '{name}'") != bytes(count):
            self.refuse(f"bytes are hidden behind '{name}'")

    def finish(self) -> None:
        if self.read(len(END_OF_ARCHIVE), "its end") != END_OF_ARCHIVE:
            self.refuse("an entry that the manifest does not list follows")
        if self._stream.read(1):
            self.refuse("bytes follow its end")


@contextmanager
def _opened(path: Path) -> Iterator[_Archive]:
    # Step 1. O_NONBLOCK: a FIFO given by mistake must not hang.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as problem:
        raise ConfigError(f"Cannot open the bundle {path}: {problem.strerror}.") from problem
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise TrustError(f"{path} is refused: it is not a regular file.", "Give the bundle's own file.")
    with os.fdopen(descriptor, "rb") as stream:
        archive = _Archive(path, stream, status.st_size)
        if not 0 < status.st_size <= MAX_BUNDLE_BYTES:
            archive.refuse(f"it has {status.st_size} bytes, expected 1 to {MAX_BUNDLE_BYTES}")
        yield archive


def _read_metadata(archive: _Archive, size_bytes: int) -> BundleMetadata:
    """Step 2: roots from version 1 on, then the three leaves; nothing is believed yet."""
    roots: list[bytes] = []
    name = FIRST_ROOT_NAME
    while name != LEAF_NAMES[0]:
        roots.append(archive.content(name, size_bytes, MAX_METADATA_BYTES))
        following = (root_name(len(roots) + 1),) if len(roots) < MAX_ROOTS else ()
        name, size_bytes = archive.next_size(*following, LEAF_NAMES[0])
    leaves = [archive.content(name, size_bytes, MAX_METADATA_BYTES)]
    for leaf in LEAF_NAMES[1:]:
        _, size_bytes = archive.next_size(leaf)
        leaves.append(archive.content(leaf, size_bytes, MAX_METADATA_BYTES))
    return BundleMetadata(tuple(roots), *leaves)


def _read_manifest(
    archive: _Archive, size_bytes: int, signed: SignedBundle | None
) -> tuple[BundleManifest, bytes]:
    # Step 3.
    if size_bytes > MAX_MANIFEST_BYTES:
        archive.refuse(f"its manifest has {size_bytes} bytes, expected at most {MAX_MANIFEST_BYTES}")
    content = archive.read(size_bytes, "the manifest")
    archive.skip_padding(MANIFEST_NAME, size_bytes)
    digest_line = digest_file_content(content)
    archive.enter(MANIFEST_DIGEST_NAME, len(digest_line))
    found = archive.read(len(digest_line), "the manifest's digest")
    archive.skip_padding(MANIFEST_DIGEST_NAME, len(digest_line))
    if found != digest_line:
        archive.refuse("its manifest does not match its digest")
    if signed is not None and (reason := signed.manifest_bytes_problem(content)):
        archive.refuse(reason)
    manifest = parse_manifest(content, f"{archive._path} is refused: its manifest")
    if signed is not None and (reason := signed.manifest_problem(manifest)):
        archive.refuse(reason)
    return manifest, content


def digest_file_content(manifest_bytes: bytes) -> bytes:
    """What ``manifest.sha256`` holds, in the form that ``sha256sum --check`` reads."""
    return f"{sha256_of_bytes(manifest_bytes)}  {MANIFEST_NAME}\n".encode()


def parse_manifest(content: bytes, where: str) -> BundleManifest:
    """Step 4: turns the manifest's bytes into a record.

    Raises:
        TrustError: Not JSON, a repeated key, a number that is none, or not a manifest.
    """
    try:
        plain = json.loads(content, object_pairs_hook=_without_repeats, parse_constant=_no_number)
        data = current_manifest(plain)
    # RecursionError: thousands of nested brackets.
    except (ValueError, RecursionError) as problem:
        raise TrustError(f"{where} is not valid JSON: {problem}.") from problem
    return from_builtins(data, BundleManifest, where, TrustError)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a key is there twice")
    return entries


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number")
