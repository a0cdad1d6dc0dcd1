"""Whether a device root can take a bundle, asked before hours of work and without changing it."""

from __future__ import annotations

import os
from pathlib import Path

from edgepose.device.install.installer import next_bundle_version
from edgepose.device.install.layout import Layout
from edgepose.device.install.state_file import read_state
from edgepose.errors import ConfigError, DeployError, TrustError
from edgepose.trust.anchor import root_fingerprint


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
