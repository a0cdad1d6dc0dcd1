"""``ROOT/var``: the one folder of a device root that a run writes, and whose it is."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from edgepose.device.install.layout import MOVED_INTO_VAR, Layout
from edgepose.errors import ConfigError

# A request for a better model, the longest of these files, has some kilobytes.
_LIMIT_BYTES = 1 << 20


def make_var(root: Path) -> Path:
    """Makes the folder, and moves there what earlier releases kept beside it; returns it.

    Raises:
        ConfigError: It cannot be made.
    """
    var = Layout(root).var
    try:
        if not var.is_dir():
            # Others may read which service runs and its figures; telemetry and drift are closed themselves.
            var.mkdir(mode=0o755, exist_ok=True)
        if root.stat().st_uid == os.geteuid():
            for name in MOVED_INTO_VAR:
                if (root / name).exists() and not os.path.lexists(var / name):
                    (root / name).rename(var / name)
    except OSError as problem:
        raise ConfigError(f"Cannot write {var}: {problem.strerror}.") from problem
    return var


def is_own_var(root: Path) -> bool:
    """Whether what a run writes here belongs to this user.

    Whoever owns ``var`` can put a link there, and another user, root above all, would follow it.
    """
    return _owner(root) == os.geteuid()


def require_own_var(root: Path) -> None:
    """Refuses to write for another user.

    Raises:
        ConfigError: What a run writes here belongs to somebody else.
    """
    owner = _owner(root)
    if owner not in {os.geteuid(), None}:
        try:
            name = pwd.getpwuid(owner).pw_name
        except KeyError:
            name = str(owner)
        raise ConfigError(
            f"{Layout(root).var} belongs to the user '{name}', and this is another one, who would follow "
            "whatever that user puts there.",
            f"Run it as that user: sudo -u {name} ...",
        )


def read_of_service(path: Path, limit_bytes: int = _LIMIT_BYTES) -> bytes | None:
    """Reads a small file that another user may have written; None where it is anything else.

    No link is followed, no pipe is waited for, and no endless file is read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    entry = os.fstat(descriptor)
    if not stat.S_ISREG(entry.st_mode) or entry.st_size > limit_bytes:
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(limit_bytes + 1)
    return content if len(content) <= limit_bytes else None


def service_may_write(root: Path) -> bool | None:
    """Whether whoever runs the model here could change what is installed; None where nothing is there."""
    layout = Layout(root)
    service = _owner(root)
    if service is None or not layout.state.exists():
        return None
    kept = [root, layout.state, layout.slots, layout.anchor.parent, layout.anchor]
    found = [path.lstat() for path in kept if os.path.lexists(path)]
    return any(entry.st_uid == service or entry.st_mode & 0o022 for entry in found)


def _owner(root: Path) -> int | None:
    """Of ``var``; before that is made, of whoever may make it."""
    for place in (Layout(root).var, root):
        if os.path.lexists(place):
            return place.lstat().st_uid
    return None
