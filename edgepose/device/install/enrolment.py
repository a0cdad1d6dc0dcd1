"""Pins the keys whose bundles a device takes: once, by an explicit act."""

from __future__ import annotations

from pathlib import Path

from edgepose.device.install.durable_files import exclusive_lock, make_folder
from edgepose.device.install.fault_points import FaultPoint, no_fault
from edgepose.device.install.installer import recover
from edgepose.device.install.layout import Layout
from edgepose.device.install.root_access import refuse_foreign_root, writing
from edgepose.device.install.state_file import write_state
from edgepose.device.install.transitions import enrolled
from edgepose.errors import TrustError
from edgepose.trust.anchor import root_fingerprint


def enroll_device(
    root: Path, content: bytes, fingerprint: str | None = None, reach: FaultPoint = no_fault
) -> str:
    """Pins a root.

    Args:
        root: The device root; a new one is made.
        content: The file ``N.root.json`` of whoever signs for this device.
        fingerprint: What it must have, told by another way than the file came; None takes any.
        reach: Where tests reach in.

    Returns:
        The fingerprint that is pinned.

    Raises:
        ConfigError: The folder belongs to something else.
        TrustError: The file is not a root, has another fingerprint, or other keys are pinned already.
        DeployError: The root cannot be written, or another call works in it.
    """
    from edgepose.trust.metadata_verifier import check_root

    text = check_root(content)
    found = root_fingerprint(text)
    if fingerprint is not None and fingerprint != found:
        raise TrustError(f"The root's fingerprint is {found}, expected {fingerprint}.", "Ask who sent it.")
    layout = Layout(root)
    with writing(root):
        refuse_foreign_root(layout)
        make_folder(root)
        with exclusive_lock(layout.lock):
            write_state(layout, enrolled(recover(layout, reach), text), reach)
    return found
