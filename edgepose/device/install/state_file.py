"""Reads and writes ``state.json`` and the anchor beside it; each write is one rename.

Whom the device believes stands in ``trust/anchor.json``. ``state.json`` has a copy for releases that know no
such file; without the file that copy counts, with it nothing in ``state.json`` can pin or unpin anything.
"""

from __future__ import annotations

import os
from pathlib import Path

from msgspec.structs import replace

from edgepose.device.install.durable_files import flush_folder, make_folder
from edgepose.device.install.fault_points import FaultPoint
from edgepose.device.install.layout import Layout
from edgepose.device.install.transitions import DeviceState
from edgepose.errors import DeployError, TrustError
from edgepose.spec.records import from_json, to_json
from edgepose.spec.whole_file import PRIVATE, READABLE, whole_file
from edgepose.trust.anchor import TrustAnchor


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
            with whole_file(layout.anchor, mode, lambda: reach("anchor_written_aside")) as stream:
                stream.write(content)
            reach("anchor_renamed")
            flush_folder(layout.anchor.parent)
    with whole_file(layout.state, mode, lambda: reach("state_written_aside")) as stream:
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
