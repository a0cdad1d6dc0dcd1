"""Whose a device root is: its owner installs, and the user of the service writes ``var`` alone.

Ownership is only changed through descriptors that followed no link. What the service may have prepared, such
as a link in place of a folder or a second name of a foreign file, is refused, and not touched.

What holds before anybody works in a device root: it is ours, and what cannot be written is told.
"""

from __future__ import annotations

import errno
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import MOVED_INTO_VAR, Layout
from edgepose.errors import ConfigError, DeployError

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Nothing hangs on a pipe that another user put there.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER_MODE, _FILE_MODE, _LOCK_MODE = 0o755, 0o644, 0o600


def become_owner(root: Path) -> None:
    """Gives root's rights up for those of the device root's owner; for other users nothing happens.

    Args:
        root: The device root; one that is not there yet belongs to its maker.
    """
    if root.is_dir():
        _become(root.stat())


@contextmanager
def as_service(root: Path) -> Iterator[None]:
    """Works in what runs write with the rights of its owner, where this is root; no link leads root astray.

    Args:
        root: The device root.
    """
    var = Layout(root).var
    owner = var.lstat() if os.geteuid() == 0 and os.path.lexists(var) else None
    if owner is None or owner.st_uid == 0:
        yield
        return
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([owner.st_gid])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def hand_over(root: Path, user: str) -> None:
    """Makes ``var`` the user's and all else this process's own; called as root, while no service runs.

    Files of another user are copied instead of given away: who holds one open for writing writes the old one.

    Raises:
        KeyError: There is no such user.
        DeployError: Someone else could replace the root, or put something there that is not edgepose's.
        OSError: It is not allowed.
    """
    entry = pwd.getpwnam(user)
    layout = Layout(root.resolve())
    mine, service = _Owner(os.geteuid(), os.getegid()), _Owner(entry.pw_uid, entry.pw_gid)
    require_safe_way(layout.root.parent, {mine.user})
    with _folder(layout.root, None) as top:
        device = os.fstat(top).st_dev
        _give(top, mine, _FOLDER_MODE)
        for kept in (layout.state, layout.lock, layout.slots, layout.anchor.parent):
            _take(layout.root, kept.name, top, mine, device)
        var = _made_var(layout, top)
        try:
            _give(var, mine, _FOLDER_MODE)
            for name in MOVED_INTO_VAR:
                if _there(name, top) and not _there(name, var):
                    os.rename(name, name, src_dir_fd=top, dst_dir_fd=var)
            _give_tree(layout.var, var, service, device)
            _give(var, service, _FOLDER_MODE)
        finally:
            os.close(var)


def make_var_for(root: Path, user: str) -> None:
    """Makes ``var`` for the user of the service where there is none, as on a card that was written elsewhere.

    Raises:
        KeyError: There is no such user.
        OSError: It is not allowed.
    """
    if os.geteuid() != 0 or os.path.lexists(Layout(root).var):
        return
    entry = pwd.getpwnam(user)
    with _folder(root, None) as top:
        var = _made_var(Layout(root), top)
        try:
            _give(var, _Owner(entry.pw_uid, entry.pw_gid), _FOLDER_MODE)
        finally:
            os.close(var)


def require_safe_way(path: Path, owners: set[int]) -> None:
    """Refuses a path that another user could bend: each folder on the way to it, and itself.

    Args:
        path: An absolute path without links.
        owners: Who may own it, beside root.

    Raises:
        DeployError: Another user owns it or may write it.
    """
    for place in (*reversed(path.parents), path):
        entry = place.lstat()
        # In /tmp and its kind every user may write, and none may rename what is another's.
        open_to_all = entry.st_mode & 0o022 and not entry.st_mode & stat.S_ISVTX
        if entry.st_uid not in {0, *owners} or open_to_all or stat.S_ISLNK(entry.st_mode):
            raise DeployError(
                f"{place} can be changed by others than root, and root must not build on it.",
                "Deploy as root, below a folder of root's such as /var/lib/edgepose.",
            )


@dataclass(frozen=True)
class _Owner:
    user: int
    group: int


def _become(found: os.stat_result) -> None:
    if os.geteuid() != 0 or found.st_uid == 0:
        return
    groups = [found.st_gid]
    with suppress(KeyError):
        groups = os.getgrouplist(pwd.getpwuid(found.st_uid).pw_name, found.st_gid)
    os.setgroups(groups)
    os.setgid(found.st_gid)
    os.setuid(found.st_uid)


def _take(parent: Path, name: str, folder: int, owner: _Owner, device: int) -> None:
    """Makes what the installation reads the owner's; it is readable by all and writable by no other."""
    if not _there(name, folder):
        return
    path = parent / name
    descriptor = _opened(path, name, folder)
    try:
        entry = os.fstat(descriptor)
        _require_plain(path, entry, device)
        if stat.S_ISDIR(entry.st_mode):
            _give(descriptor, owner, _FOLDER_MODE)
            for inner in _names(descriptor):
                _take(path, inner, descriptor, owner, device)
            return
        mode = _LOCK_MODE if name == "lock" else _FILE_MODE
        if entry.st_uid == owner.user:
            _give(descriptor, owner, mode)
        else:
            _replace(name, folder, descriptor, mode)
    finally:
        os.close(descriptor)


def _replace(name: str, folder: int, descriptor: int, mode: int) -> None:
    """Puts a copy of this process's own in place of an open file; the folder is its own by now."""
    aside = f".{name}.taken"
    with suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=folder)
    copy = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode, dir_fd=folder)
    with os.fdopen(copy, "wb") as target, os.fdopen(os.dup(descriptor), "rb") as source:
        os.fchmod(copy, mode)
        while piece := source.read(1 << 20):
            target.write(piece)
        target.flush()
        os.fsync(copy)
    os.rename(aside, name, src_dir_fd=folder, dst_dir_fd=folder)


def _give_tree(path: Path, folder: int, owner: _Owner, device: int) -> None:
    for name in _names(folder):
        descriptor = _opened(path / name, name, folder)
        try:
            entry = os.fstat(descriptor)
            _require_plain(path / name, entry, device)
            if stat.S_ISDIR(entry.st_mode):
                _give_tree(path / name, descriptor, owner, device)
            os.fchown(descriptor, owner.user, owner.group)
        finally:
            os.close(descriptor)


def _require_plain(path: Path, entry: os.stat_result, device: int) -> None:
    if entry.st_dev != device:
        raise _strange(path, "another file system")
    if stat.S_ISDIR(entry.st_mode):
        return
    if not stat.S_ISREG(entry.st_mode):
        raise _strange(path, "neither a file nor a folder")
    if entry.st_nlink != 1:
        raise _strange(path, "a file that has another name elsewhere")


def _opened(path: Path, name: str, folder: int) -> int:
    try:
        return os.open(name, _FILE, dir_fd=folder)
    except OSError as problem:
        what = "a link" if problem.errno == errno.ELOOP else f"nothing to open ({problem.strerror})"
        raise _strange(path, what) from problem


@contextmanager
def _folder(path: Path, parent: int | None) -> Iterator[int]:
    try:
        descriptor = os.open(path, _FOLDER, dir_fd=parent)
    except OSError as problem:
        raise _strange(path, f"no folder ({problem.strerror})") from problem
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _made_var(layout: Layout, top: int) -> int:
    with suppress(FileExistsError):
        os.mkdir(layout.var.name, _FOLDER_MODE, dir_fd=top)
    try:
        return os.open(layout.var.name, _FOLDER, dir_fd=top)
    except OSError as problem:
        raise _strange(layout.var, f"no folder ({problem.strerror})") from problem


def _names(folder: int) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _there(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _give(descriptor: int, owner: _Owner, mode: int) -> None:
    os.fchown(descriptor, owner.user, owner.group)
    os.fchmod(descriptor, mode)


def _strange(path: Path, what: str) -> DeployError:
    return DeployError(
        f"{path} is {what}; edgepose puts no such thing there, so nothing of it was given to anybody.",
        "Look who put it there, remove it and try again.",
    )


def require_state(layout: Layout) -> None:
    """Refuses a folder in which edgepose never installed anything.

    Raises:
        ConfigError: There is no state.
    """
    if not layout.state.is_file():
        raise ConfigError(
            f"Nothing is installed in {layout.root}.", "Run: edgepose deploy --profile ID --model MODEL"
        )


def refuse_foreign_root(layout: Layout) -> None:
    """Refuses a folder that belongs to something else.

    Raises:
        ConfigError: It holds what edgepose did not make.
    """
    foreign = layout.foreign_entries()
    if foreign:
        named = ", ".join(foreign[:3]) + (" ..." if len(foreign) > 3 else "")
        raise ConfigError(
            f"{layout.root} is not empty and not an edgepose root: it holds {named}.",
            "Give an empty or new folder with --root.",
        )


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turns a full or unwritable disk into an expected error.

    Raises:
        DeployError: Something could not be written.
    """
    try:
        yield
    except OSError as problem:
        where = problem.filename or root
        raise DeployError(
            f"Cannot install into {root}: {problem.strerror} ({where}).",
            "Check its space and permissions; the version before is active as it was.",
        ) from problem
