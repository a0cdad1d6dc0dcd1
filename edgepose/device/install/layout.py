"""The paths of a device root.

```
ROOT/state.json          the single source of truth: which slot is active
ROOT/trust/anchor.json   whom this device believes; once it is there, nothing else says so
ROOT/lock                held while an installation or a rollback works
ROOT/slots/a, slots/b    one whole bundle each, or leftovers that state.json does not name
ROOT/slots/x.staging     a bundle that is being unpacked into slot x
ROOT/var                 all that a run writes; the only folder that is the service's own
ROOT/var/running.json    the service that runs
ROOT/var/start.json      how the last start went, as the service tells it
ROOT/var/telemetry, var/telemetry.prom, var/drift
ROOT/var/engine_cache    engines that TensorRT built here, a folder each; may be deleted at any time
```
Everything but ``var`` belongs to the user who installs, and the service reads it (ADR 0037).

``ROOT/var``: the one folder of a device root that a run writes, and whose it is.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgepose.errors import ConfigError, EdgeposeError
from edgepose.records.device_status import SlotName
from edgepose.records.files import is_temporary_of
from edgepose.records.record import Record, from_json

RecordType = TypeVar("RecordType", bound=Record)

SLOTS: tuple[SlotName, SlotName] = ("a", "b")
_STATE, _LOCK, _SLOTS = "state.json", "lock", "slots"
_TRUST, _ANCHOR, _VAR, _ENGINE_CACHE = "trust", "anchor.json", "var", "engine_cache"
# The service that runs what is installed in a root.
UNIT_NAME = "edgepose.service"
# What releases before ADR 0037 kept beside the state.
MOVED_INTO_VAR = ("telemetry", "telemetry.prom", "drift", "running.json", "engine_cache")


@dataclass(frozen=True)
class Layout:
    """Where things are in a device root.

    Attributes:
        root: The device root.
    """

    root: Path

    @property
    def state(self) -> Path:
        """The single source of truth."""
        return self.root / _STATE

    def cut_off_writes(self) -> list[Path]:
        """Next states and anchors that a power cut kept from their name; who holds the lock may remove them.

        Raises:
            OSError: A folder cannot be listed.
        """
        return [
            path
            for target in (self.state, self.anchor)
            if target.parent.is_dir()
            for path in target.parent.iterdir()
            if is_temporary_of(path, target)
        ]

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.root / _LOCK

    @property
    def anchor(self) -> Path:
        """Whom the device believes, and what it admitted before it did."""
        return self.root / _TRUST / _ANCHOR

    @property
    def var(self) -> Path:
        """What a run writes."""
        return self.root / _VAR

    @property
    def drift(self) -> Path:
        """What is known about drift."""
        return self.var / "drift"

    @property
    def slots(self) -> Path:
        """The folder of both slots."""
        return self.root / _SLOTS

    def slot(self, name: SlotName) -> Path:
        """A slot's folder."""
        return self.slots / name

    def staging(self, name: SlotName) -> Path:
        """Where a bundle is unpacked before it becomes the slot's folder."""
        return self.slots / f"{name}.staging"

    def foreign_entries(self) -> list[str]:
        """Names in the root that edgepose did not make, sorted; all of them while there is no state.

        A root whose first installation was cut off before the first state holds at most the lock,
        the next state and the pinned keys, so it is still known as edgepose's.

        Raises:
            OSError: The root cannot be listed.
        """
        if self.state.exists() or not self.root.exists():
            return []
        cut_off = {path.name for path in self.cut_off_writes()}
        return sorted({path.name for path in self.root.iterdir()} - {_LOCK, _TRUST, _VAR, *cut_off})


def engine_cache_beside(slot: Path) -> Path:
    """Where the root of a slot's folder (``ROOT/slots/x``) keeps the engines built on this device."""
    return slot.resolve().parent.parent / _VAR / _ENGINE_CACHE


def default_preview_root() -> Path:
    """The root that ``EDGEPOSE_ROOT`` names, as it does on a device; else a preview root of this user.

    That one lies under the XDG data home.
    """
    named = os.environ.get("EDGEPOSE_ROOT", "")
    if named.startswith("/"):
        return Path(named)
    data_home = os.environ.get("XDG_DATA_HOME", "")
    # The XDG base directory specification: a relative path there is to be ignored.
    base = Path(data_home) if data_home.startswith("/") else Path.home() / ".local" / "share"
    return base / "edgepose" / "preview"


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

    Who owns ``var`` can put a link there, and another user, root above all, would follow it.
    """
    return _owner(root) == os.geteuid()


def require_own_var(root: Path) -> None:
    """Refuses to write for another user.

    Raises:
        ConfigError: What a run writes here belongs to another user.
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


def read_record_of_service(path: Path, record: type[RecordType]) -> RecordType | None:
    """A record that another user may have written; None where there is none, or it is damaged."""
    content = read_of_service(path)
    try:
        return from_json(content, record, str(path)) if content is not None else None
    except EdgeposeError:
        return None


def service_may_write(root: Path) -> bool | None:
    """Whether the user who runs the model here could change what is installed; None: nothing there."""
    layout = Layout(root)
    service = _owner(root)
    if service is None or not layout.state.exists():
        return None
    kept = [root, layout.state, layout.slots, layout.anchor.parent, layout.anchor]
    found = [path.lstat() for path in kept if os.path.lexists(path)]
    return any(entry.st_uid == service or entry.st_mode & 0o022 for entry in found)


def _owner(root: Path) -> int | None:
    """Of ``var``; before that is made, of the user who may make it."""
    for place in (Layout(root).var, root):
        if os.path.lexists(place):
            return place.lstat().st_uid
    return None
