"""Writes the unit whole, and has systemd read it; an older one stays where anything fails."""

from __future__ import annotations

import os
import pwd
from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import UNIT_NAME
from edgepose.device.install.owner import hand_over, require_safe_way
from edgepose.errors import DeployError
from edgepose.records.files import PRIVATE, READABLE, atomic_file
from edgepose.sandbox.python_child import find_program, run_words

SYSTEM_UNITS = Path("/etc/systemd/system")
_WANTED = "multi-user.target.wants"


@dataclass(frozen=True)
class UnitPlace:
    """Where units are written.

    Attributes:
        folder: The folder of units; a mounted card has its own.
        live: Whether it is that of the running system, so that systemd is told.
    """

    folder: Path = SYSTEM_UNITS
    live: bool = True
    name: str = UNIT_NAME

    @property
    def file_system(self) -> Path:
        """Root of the file system that the units are for."""
        return self.folder.absolute().parent.parent.parent

    @property
    def unit(self) -> Path:
        """The unit file."""
        return self.folder / self.name


def group_names(file_system: Path = Path("/")) -> frozenset[str]:
    """Groups of this machine, or of a mounted card (group(5))."""
    try:
        text = (file_system / "etc/group").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return frozenset()
    return frozenset(line.partition(":")[0] for line in text.splitlines())


def install_unit(text: str, place: UnitPlace) -> None:
    """Writes the unit, enables it, and starts it on a running system.

    Raises:
        DeployError: It cannot be written, or systemd refuses it; the unit before is then in place again.
    """
    before = place.unit.read_bytes() if place.unit.is_file() else None
    try:
        _write(place.unit, text.encode())
        _enable(place)
        if place.live:
            _systemctl("daemon-reload")
            _systemctl("restart", "--no-block", place.name)
    except (OSError, DeployError) as problem:
        _put_back(place, before)
        if isinstance(problem, DeployError):
            raise
        raise DeployError(
            f"Cannot write {place.unit}: {problem.strerror}.", "Units are installed as root: try sudo."
        ) from problem


def prepare_user(user: str, root: Path, program: Path) -> None:
    """Makes the service's user where there is none, and gives it ``ROOT/var``; all else is root's.

    Args:
        user: Of the service.
        root: The device root.
        program: What root will start before the service.

    Raises:
        DeployError: The user cannot be made, this is not root, or others than root can change the program or
            what leads to the root.
    """
    if os.geteuid() != 0:
        raise DeployError("Units are installed as root.", "Try sudo.")
    require_safe_way(program.resolve(), set())
    try:
        pwd.getpwnam(user)
    except KeyError:
        _run("useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", user)
    if (SYSTEM_UNITS / UNIT_NAME).is_file():
        # A service that runs would go on writing what is taken from it; it is started again afterwards.
        _systemctl("stop", UNIT_NAME)
    try:
        root.mkdir(parents=True, exist_ok=True)
        hand_over(root, user)
    except OSError as problem:
        raise DeployError(f"Cannot give {root} to {user}: {problem.strerror}.", "Try sudo.") from problem


def remove_unit(place: UnitPlace) -> bool:
    """Stops the service and removes the unit; whether there was one.

    Raises:
        DeployError: It cannot be removed.
    """
    if not place.unit.is_file():
        return False
    if place.live:
        _systemctl("disable", "--now", place.name)
    try:
        (place.folder / _WANTED / place.name).unlink(missing_ok=True)
        place.unit.unlink()
    except OSError as problem:
        raise DeployError(f"Cannot remove {place.unit}: {problem.strerror}.", "Try sudo.") from problem
    if place.live:
        _systemctl("daemon-reload")
    return True


def write_secret(target: Path, text: str) -> None:
    """Writes a file that root alone can read, such as a camera's address with its password.

    Raises:
        DeployError: It cannot be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, text.encode(), PRIVATE)
    except OSError as problem:
        raise DeployError(f"Cannot write {target}: {problem.strerror}.", "Try sudo.") from problem


def remove_secret(target: Path) -> None:
    """Removes what ``write_secret`` wrote.

    Raises:
        DeployError: It cannot be removed.
    """
    try:
        target.unlink(missing_ok=True)
    except OSError as problem:
        raise DeployError(f"Cannot remove {target}: {problem.strerror}.", "Try sudo.") from problem


def restart_where_running() -> bool:
    """Has a running service take the new version; whether there is one that this user may restart.

    Raises:
        DeployError: systemd refuses.
    """
    if not (SYSTEM_UNITS / UNIT_NAME).is_file() or os.geteuid() != 0:
        return False
    _systemctl("try-restart", "--no-block", UNIT_NAME)
    return True


def _write(target: Path, content: bytes, mode: int = READABLE) -> None:
    with atomic_file(target, mode) as stream:
        stream.write(content)


def _enable(place: UnitPlace) -> None:
    """A link, as ``systemctl enable`` makes it; relative, so that it holds on a mounted card, too."""
    link = place.folder / _WANTED / place.name
    link.parent.mkdir(exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(f"../{place.name}")


def _put_back(place: UnitPlace, before: bytes | None) -> None:
    try:
        if before is not None:
            _write(place.unit, before)
        else:
            (place.folder / _WANTED / place.name).unlink(missing_ok=True)
            place.unit.unlink(missing_ok=True)
    except OSError:
        # The first error says what is wrong.
        return


def _systemctl(*words: str) -> None:
    _run("systemctl", *words)


def _run(program: str, *words: str) -> None:
    found = find_program(program)
    if found is None:
        raise DeployError(
            f"There is no {program} on this machine.",
            "Run edgepose-device service with what starts programs here.",
        )
    done = run_words([found, *words])
    if done.returncode:
        raise DeployError(f"{program} {' '.join(words)} failed: {done.stderr.strip()}.", "Try sudo.")
