"""The files of a slot: unpacked from a bundle, and checked again from the disk."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import BinaryIO

from edgepose.device.install.durable_files import flush_and_forget, flush_folder, make_folder
from edgepose.device.install.fault_points import FaultPoint
from edgepose.errors import TrustError
from edgepose.spec.bundle_manifest import MANIFEST_NAME, BundleManifest
from edgepose.trust.bundle_reader import MAX_MANIFEST_BYTES, VerifiedBundle, parse_manifest, read_bundle
from edgepose.trust.digests import sha256_of_bytes, sha256_of_file

# Names and a folder's own block cost space too, and a file system counts in blocks.
_BLOCK_BYTES = 4096
_RESERVE_BYTES = 64 << 10


def needed_bytes(bundle: VerifiedBundle) -> int:
    """Space that a bundle takes when unpacked, rounded up."""
    sizes = [file.size_bytes for file in bundle.manifest.files] + [len(bundle.manifest_bytes)]
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
    for inner in sorted(path for path in folder.rglob("*") if path.is_dir()):
        flush_folder(inner)
    flush_folder(folder)
    flush_folder(folder.parent)
    return bundle


def verify_slot(folder: Path, manifest_sha256: str) -> BundleManifest:
    """Checks every file of a slot from the disk.

    Args:
        folder: The slot.
        manifest_sha256: Digest of the manifest that must be there.

    Raises:
        TrustError: A file is missing, changed, not listed or not a regular file.
    """
    try:
        manifest = read_slot_manifest(folder, manifest_sha256)
        expected = {MANIFEST_NAME} | {file.path for file in manifest.files}
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
