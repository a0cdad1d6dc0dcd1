"""A root belongs to the user of the service; root works in it as that user, so that the service can go on."""

from __future__ import annotations

import os
import pwd
from contextlib import suppress
from pathlib import Path


def become_owner(root: Path) -> None:
    """Gives root's rights up for those of whoever owns the device root; for everybody else nothing happens.

    Args:
        root: The device root; one that is not there yet belongs to whoever makes it.
    """
    if os.geteuid() != 0 or not root.is_dir():
        return
    found = root.stat()
    if found.st_uid == 0:
        return
    with suppress(KeyError):
        os.initgroups(pwd.getpwuid(found.st_uid).pw_name, found.st_gid)
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)


def give_to(root: Path, user: str) -> None:
    """Makes a root and all in it a user's; called as root.

    Raises:
        KeyError: There is no such user.
        OSError: It is not allowed.
    """
    entry = pwd.getpwnam(user)
    for folder, _, files in os.walk(root):
        os.chown(folder, entry.pw_uid, entry.pw_gid)
        for name in files:
            os.chown(Path(folder) / name, entry.pw_uid, entry.pw_gid, follow_symlinks=False)
