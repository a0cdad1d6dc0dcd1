"""The files of a slot: unpacked from a bundle, and checked again from the disk.

A slot keeps the metadata by which its bundle was signed, so that every start can ask again who signed it.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from edgepose.device.install.state_file import FaultPoint, flush_and_forget, flush_folder, make_folder
from edgepose.errors import TrustError
from edgepose.records.bundle_manifest import MANIFEST_NAME, METADATA_FOLDER, BundleManifest
from edgepose.trust.bundle_reader import MAX_MANIFEST_BYTES, VerifiedBundle, parse_manifest, read_bundle
from edgepose.trust.digests import sha256_of_bytes, sha256_of_file
from edgepose.trust.signed_bundle import (
    LEAF_NAMES,
    MAX_METADATA_BYTES,
    MAX_ROOTS,
    BundleMetadata,
    TrustAnchor,
    root_name,
)
from edgepose.trust.verification import verify_installed

# Names and a folder's own block cost space too, and a file system counts in blocks.
_BLOCK_BYTES = 4096
_RESERVE_BYTES = 64 << 10
# The service is another user than the one who installs, and reads them whatever that one's umask is.
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755


def needed_bytes(bundle: VerifiedBundle) -> int:
    """Space that a bundle takes when unpacked, rounded up."""
    sizes = [file.size_bytes for file in bundle.manifest.files] + [len(bundle.manifest_bytes)]
    sizes += [len(content) for _, content in bundle.metadata.members()] if bundle.metadata else []
    return sum(-(-size // _BLOCK_BYTES) * _BLOCK_BYTES for size in sizes) + _RESERVE_BYTES


def unpack(bundle_path: Path, folder: Path, reach: FaultPoint) -> VerifiedBundle:
    """Unpacks a bundle into a new folder and flushes everything to the disk.

    The bundle is checked while it is read, and every file once more afterwards by ``verify_slot``.

    Raises:
        TrustError: The bundle is not as it must be; the folder then holds rubbish.
        ConfigError: The bundle cannot be read.
        OSError: A file cannot be written.
    """
    make_folder(folder)
    writer = _SlotWriter(folder, reach)
    try:
        bundle = read_bundle(bundle_path, writer.write)
        writer.close_file()
    finally:
        writer.give_up()
    _write_flushed(folder / MANIFEST_NAME, bundle.manifest_bytes)
    if bundle.metadata is not None:
        make_folder(folder / METADATA_FOLDER)
        for name, content in bundle.metadata.members():
            _write_flushed(folder / name, content)
    for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
        inner.chmod(_FOLDER_MODE)
        flush_folder(inner)
    for outer in (folder, folder.parent):
        outer.chmod(_FOLDER_MODE)
    flush_folder(folder)
    return bundle


@dataclass(frozen=True)
class VerifiedSlot:
    """A slot whose every file was checked.

    Attributes:
        manifest: Its manifest.
        signed_by: Fingerprint of the root by which it was verified, or None where it is unsigned.
    """

    manifest: BundleManifest
    signed_by: str | None


def verify_slot(folder: Path, manifest_sha256: str, trust: TrustAnchor | None) -> VerifiedSlot:
    """Checks who signed a slot, and every file of it, from the disk.

    Args:
        folder: The slot.
        manifest_sha256: Digest of the manifest that must be there.
        trust: Whom this device believes.

    Raises:
        TrustError: The manifest is not one that the pinned keys signed; or a file is missing, changed, not
            listed or not a regular file.
    """
    signed_by = slot_signer(folder, manifest_sha256, trust)
    return VerifiedSlot(verify_files(folder, manifest_sha256), signed_by)


def slot_signer(folder: Path, manifest_sha256: str, trust: TrustAnchor | None) -> str | None:
    """Asks a slot's metadata who signed its manifest; nothing that the state says is believed.

    Neither the clock nor expiry counts here: a device must start on what it verified once, years later and
    without a clock. What is newer or older was judged at the installation.

    Returns:
        Fingerprint of the root by which it was verified, or None where it is unsigned.

    Raises:
        TrustError: The pinned keys did not sign it, and it was not admitted before they were pinned.
    """
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            raise _damaged(folder, "that is no folder")
        metadata = _read_metadata(folder)
    except OSError as problem:
        raise _damaged(folder, f"it or its signatures cannot be read ({problem.strerror})") from problem
    admitted = trust is not None and manifest_sha256 in trust.admitted
    if metadata is None:
        if trust is not None and not admitted:
            raise _damaged(folder, "nobody signed it, and this device takes only what its pinned keys signed")
        return trust.admitted[manifest_sha256] if trust is not None else None
    if trust is None:
        raise _damaged(folder, "it is signed, and the keys that this device had pinned are gone")
    signed = verify_installed(None if admitted else trust.root, metadata)
    if signed.manifest_sha256 != manifest_sha256:
        raise _damaged(folder, "its signatures are those of another manifest than the state names")
    return trust.admitted[manifest_sha256] if admitted else signed.fingerprint


def verify_files(folder: Path, manifest_sha256: str) -> BundleManifest:
    """Checks every file of a slot from the disk against its manifest.

    Raises:
        TrustError: A file is missing, changed, not listed or not a regular file.
    """
    try:
        manifest = read_slot_manifest(folder, manifest_sha256)
        expected = {MANIFEST_NAME} | {file.path for file in manifest.files}
        # All of them are signed themselves, and ``slot_signer`` has read them.
        expected |= set(_metadata_names(folder))
        found = _regular_files(folder)
        if found != expected:
            odd = ", ".join(sorted(found ^ expected))
            raise _damaged(folder, f"files missing or not listed: {odd}")
        for file in manifest.files:
            path = folder / file.path
            if path.stat().st_size != file.size_bytes or sha256_of_file(path) != file.sha256:
                raise _damaged(folder, f"'{file.path}' has changed")
    except OSError as problem:
        raise _damaged(folder, f"it cannot be read ({problem.strerror})") from problem
    return manifest


def read_slot_manifest(folder: Path, manifest_sha256: str) -> BundleManifest:
    """Reads a slot's manifest.

    Raises:
        TrustError: It is not the one with this digest.
        OSError: It cannot be read.
    """
    path = folder / MANIFEST_NAME
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise _damaged(folder, "its manifest is too large")
    content = path.read_bytes()
    if sha256_of_bytes(content) != manifest_sha256:
        raise _damaged(folder, "its manifest has changed")
    return parse_manifest(content, str(path))


def _metadata_names(folder: Path) -> list[str]:
    """Names of the metadata in a slot, in the bundle's order; nothing where there is none."""
    if not os.path.lexists(folder / METADATA_FOLDER):
        return []
    numbers = takewhile(lambda n: os.path.lexists(folder / root_name(n)), range(1, MAX_ROOTS + 1))
    return [*(root_name(number) for number in numbers), *LEAF_NAMES]


def _read_metadata(folder: Path) -> BundleMetadata | None:
    names = _metadata_names(folder)
    contents = []
    for name in names:
        path = folder / name
        if not stat.S_ISREG(path.lstat().st_mode) or path.lstat().st_size > MAX_METADATA_BYTES:
            raise _damaged(folder, f"'{name}' is no metadata")
        contents.append(path.read_bytes())
    roots = len(names) - len(LEAF_NAMES)
    return BundleMetadata(tuple(contents[:roots]), *contents[roots:]) if names else None


class _SlotWriter:
    """Writes the pieces that ``read_bundle`` hands on, one open file at a time."""

    def __init__(self, folder: Path, reach: FaultPoint) -> None:
        self._folder = folder
        self._reach = reach
        self._stream: BinaryIO | None = None
        self._path = ""

    def write(self, path: str, piece: bytes) -> None:
        if path != self._path:
            self.close_file()
            self._path = path
            target = self._folder / path
            make_folder(target.parent)
            self._stream = target.open("xb")
            os.fchmod(self._stream.fileno(), _FILE_MODE)
            self._reach("file_begun")
        if self._stream is not None:
            self._stream.write(piece)

    def close_file(self) -> None:
        """Flushes the open file to the disk."""
        if self._stream is not None:
            with self._stream as stream:
                flush_and_forget(stream)
            self._stream = None
            self._reach("file_written")

    def give_up(self) -> None:
        """Closes the open file after an error."""
        if self._stream is not None:
            self._stream.close()


def _write_flushed(path: Path, content: bytes) -> None:
    with path.open("xb") as stream:
        os.fchmod(stream.fileno(), _FILE_MODE)
        stream.write(content)
        flush_and_forget(stream)


def _regular_files(folder: Path) -> set[str]:
    """Relative paths of all that is no folder; a link or device is refused."""
    found = set()
    for path in folder.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISDIR(mode):
            continue
        if not stat.S_ISREG(mode):
            raise _damaged(folder, f"'{path.relative_to(folder)}' is not a regular file")
        found.add(path.relative_to(folder).as_posix())
    return found


def _damaged(folder: Path, reason: str) -> TrustError:
    return TrustError(
        f"The installed files in {folder} are refused: {reason}.",
        "Run `edgepose rollback`, or deploy again.",
    )
