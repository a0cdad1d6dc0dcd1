"""Reads and writes ``state.json`` and the anchor beside it; each write is one rename, safe from power cuts.

Whom the device believes stands in ``trust/anchor.json``, and bundles are taken of these keys alone.
``state.json`` has a copy for releases that know no such file; without the file that copy counts, with it
nothing in ``state.json`` can pin or unpin anything.

The moments at which a power cut may come have names: the installer passes each to a function that does
nothing, and tests pass one that ends the process there and look at what is left.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from msgspec.structs import replace

from edgepose.device.install.layout import Layout
from edgepose.device.install.transitions import DeviceState
from edgepose.errors import DeployError, TrustError
from edgepose.records.files import PRIVATE, READABLE, atomic_file
from edgepose.records.record import from_json, to_json
from edgepose.trust.signed_bundle import BundleMetadata, OlderMetadataError, SignedBundle, TrustAnchor, Verify
from edgepose.trust.verification import verify_by


def make_folder(path: Path) -> None:
    """Makes a folder with its parents; each new name is flushed to the disk.

    Raises:
        OSError: It cannot be made.
    """
    missing = [path, *path.parents]
    missing = missing[: next(i for i, folder in enumerate(missing) if folder.exists())]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        flush_folder(folder.parent)


def flush_folder(path: Path) -> None:
    """Flushes a folder's names to the disk; without it a rename may be undone by a power cut.

    Raises:
        OSError: It cannot be flushed.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_and_forget(stream: BinaryIO) -> None:
    """Flushes a file to the disk and asks the kernel to drop its copy, so that reading it reads the disk.

    Raises:
        OSError: It cannot be flushed.
    """
    stream.flush()
    os.fsync(stream.fileno())
    os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def remove_tree(path: Path) -> None:
    """Removes a folder, a file or a link; nothing there is fine.

    Raises:
        OSError: It cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def tree_bytes(path: Path) -> int:
    """Size of all files in a folder; 0 where there is none.

    Raises:
        OSError: It cannot be read.
    """
    return sum(entry.lstat().st_size for entry in path.rglob("*") if entry.is_file())


@contextmanager
def exclusive_lock(path: Path) -> Iterator[None]:
    """Holds a lock that ends with the process, whatever ends it.

    No other user may read the file: whoever can open it can hold the lock, and so keep updates out.

    Raises:
        DeployError: Another process holds it.
        OSError: The lock file cannot be made.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            raise DeployError(
                f"Another installation or rollback is working in {path.parent}.",
                "Wait until it has ended, then try again.",
            ) from problem
        yield
    finally:
        os.close(descriptor)


FaultPoint = Callable[[str], None]

FAULT_POINTS = (
    "locked",
    "state_written_aside",
    "state_renamed",
    "leftovers_removed",
    "install_begun",
    "slot_cleared",
    "file_begun",
    "file_written",
    "staged",
    "staging_verified",
    "slot_renamed",
    "trial_begun",
    "attempt_counted",
    "health_checked",
    "decided",
)
# Reached in between where keys are pinned or move on.
ANCHOR_FAULT_POINTS = ("anchor_written_aside", "anchor_renamed")


def no_fault(_name: str) -> None:
    """Goes on."""


def read_state(layout: Layout) -> DeviceState:
    """Reads the state; a root without one is new.

    Raises:
        TrustError: A file is damaged.
        DeployError: It cannot be read.
    """
    content, anchor = _read(layout.state), _read(layout.anchor)
    state = DeviceState()
    if content is not None:
        state = from_json(content, DeviceState, str(layout.state), TrustError)
    if anchor is not None:
        return replace(state, trust=from_json(anchor, TrustAnchor, str(layout.anchor), TrustError))
    if state.trust is None:
        return state
    # Written by a release that kept no signatures beside the files.
    verified = {content.manifest_sha256: content.signed_by for content in state.contents.values()}
    return replace(state, trust=replace(state.trust, admitted=verified))


def write_state(layout: Layout, state: DeviceState, reach: FaultPoint) -> None:
    """Replaces the state: the old one or the new one is there at any moment.

    Keys come first: what is pinned stays pinned whatever becomes of the change that pinned it.

    Raises:
        OSError: It cannot be written; the old state stays.
    """
    copied, mode = None, _mode(layout)
    if state.trust is not None:
        copied = replace(state.trust, admitted={})
        content = to_json(state.trust, indent=1).encode()
        if _read(layout.anchor) != content:
            make_folder(layout.anchor.parent)
            with atomic_file(layout.anchor, mode, lambda: reach("anchor_written_aside")) as stream:
                stream.write(content)
            reach("anchor_renamed")
            flush_folder(layout.anchor.parent)
    with atomic_file(layout.state, mode, lambda: reach("state_written_aside")) as stream:
        stream.write(to_json(replace(state, trust=copied), indent=1).encode())
    reach("state_renamed")
    flush_folder(layout.root)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise DeployError(f"Cannot read {path}: {problem.strerror}.") from problem


def _mode(layout: Layout) -> int:
    """For its owner alone, unless the service is another user, who reads it."""
    try:
        other = layout.var.lstat().st_uid != os.geteuid()
    except FileNotFoundError:
        other = False
    return READABLE if other else PRIVATE


def bundle_verifier(
    trust: TrustAnchor | None, enroll: bytes | None, clock: datetime, *, allow_downgrade: bool
) -> Verify:
    """Who may sign for a device root.

    Args:
        trust: What is pinned, or None.
        enroll: Root to pin where nothing is pinned, or None.
        clock: What the clock says.
        allow_downgrade: Whether a bundle may be older than what was verified before.

    Raises:
        TrustError: ``enroll`` is needed and is not a root.
    """
    if trust is None and enroll is not None:
        from edgepose.trust.metadata_verifier import check_root

        trust = TrustAnchor(root=check_root(enroll))
    if trust is not None:
        return verify_by(trust, clock, allow_downgrade=allow_downgrade)
    return _unsigned_only


def _unsigned_only(metadata: BundleMetadata | None) -> SignedBundle | None:
    # To take the keys that a bundle brings along would be to believe the first who comes.
    if metadata is not None:
        raise TrustError(
            "The bundle is signed, and this device has pinned no keys to compare with.",
            "Run: edgepose-device enroll ROOT.json",
        )
    return None


@contextmanager
def older_is_a_downgrade() -> Iterator[None]:
    """Turns older metadata into the refusal of a downgrade, as an older bundle version is one.

    Raises:
        DeployError: The bundle was signed before what was verified before.
    """
    try:
        yield
    except OlderMetadataError as problem:
        raise DeployError(problem.message, problem.hint) from problem
