"""Whether a device root can take a bundle, asked before hours of work and without changing it.

Pins the keys whose bundles a device takes: once, by an explicit act.
"""

from __future__ import annotations

import os
from pathlib import Path

from edgepose.device.install.installer import next_bundle_version, recover
from edgepose.device.install.layout import Layout
from edgepose.device.install.owner import refuse_foreign_root, writing
from edgepose.device.install.state_file import (
    FaultPoint,
    exclusive_lock,
    make_folder,
    no_fault,
    read_state,
    write_state,
)
from edgepose.device.install.transitions import enrolled
from edgepose.errors import ConfigError, DeployError, TrustError
from edgepose.trust.signed_bundle import root_fingerprint


def check_root(root: Path, profile_id: str) -> int:
    """Refuses a root of no use.

    Args:
        root: The device root; it need not exist.
        profile_id: The profile of the bundle to come.

    Returns:
        The version that the bundle should have.

    Raises:
        ConfigError: The root holds something else, or is another profile's.
        TrustError: The root's state is damaged.
        DeployError: The root cannot be written.
    """
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"{root} cannot be a device root: {place} is not a folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise DeployError(f"{root} cannot be written by this user.", "Choose another --root.")
    if not root.exists():
        return 1
    layout = Layout(root)
    foreign = layout.foreign_entries()
    if foreign:
        raise ConfigError(
            f"{root} is not empty and not an edgepose root: it holds {', '.join(foreign[:3])}.",
            "Give an empty or new folder with --root.",
        )
    active = read_state(layout).active_content
    if active is not None and active.profile_id != profile_id:
        raise ConfigError(
            f"{root} is a device of profile '{active.profile_id}'; this bundle is for '{profile_id}'.",
            "Use another --root, or an empty one.",
        )
    return next_bundle_version(root)


def check_keys(root: Path, roots: tuple[bytes, ...]) -> None:
    """Refuses keys that the device does not believe, before any work.

    Args:
        root: The device root; it need not exist.
        roots: Roots of the keys that will sign, from version 1 on; empty where nothing will be signed.

    Raises:
        TrustError: The device has pinned keys, and these are others or none.
    """
    trust = read_state(Layout(root)).trust if root.exists() else None
    if trust is None or trust.root.encode() in roots:
        return
    found = f"those of {root_fingerprint(roots[-1])}" if roots else "none: the bundle would be unsigned"
    raise TrustError(
        f"{root} takes only bundles of its pinned keys, {root_fingerprint(trust.root)}; found {found}.",
        "Give the right keys with --keys DIR.",
    )


def enroll_device(
    root: Path, content: bytes, fingerprint: str | None = None, reach: FaultPoint = no_fault
) -> str:
    """Pins a root.

    Args:
        root: The device root; a new one is made.
        content: The file ``N.root.json`` of the signer for this device.
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
