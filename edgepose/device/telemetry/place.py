"""Where telemetry lies in a device root.

```
ROOT/telemetry/                        mode 0700
ROOT/telemetry/telemetry.sqlite3       mode 0600, with SQLite's own -wal and -shm beside it
ROOT/telemetry/damaged.sqlite3         the last database that could not be read whole
ROOT/telemetry/writer.lock             held by the run that writes
ROOT/telemetry.prom                    for whoever scrapes locally: mode 0640
```
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SIDE_FILES = ("-wal", "-shm", "-journal")


@dataclass(frozen=True)
class TelemetryPlace:
    """The paths.

    Attributes:
        root: The device root.
    """

    root: Path

    @property
    def folder(self) -> Path:
        """Nobody else may look into it."""
        return self.root / "telemetry"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.folder / "telemetry.sqlite3"

    @property
    def damaged(self) -> Path:
        """A database that was set aside."""
        return self.folder / "damaged.sqlite3"

    @property
    def lock(self) -> Path:
        """Held by the one writer."""
        return self.folder / "writer.lock"

    @property
    def prometheus(self) -> Path:
        """The newest figures as text."""
        return self.root / "telemetry.prom"

    def size_bytes(self) -> int:
        """Of the database with its side files and the one set aside."""
        files = [with_side_files(path) for path in (self.database, self.damaged)]
        return sum(path.stat().st_size for group in files for path in group if path.is_file())


def with_side_files(database: Path) -> list[Path]:
    """A database and the names of the files that SQLite keeps beside it."""
    return [database, *(database.with_name(database.name + suffix) for suffix in SIDE_FILES)]


def prepare_folder(place: TelemetryPlace) -> None:
    """Makes the folder and an empty database that only this user can read.

    SQLite gives its side files the owner and mode of the database.

    Raises:
        OSError: They cannot be made.
    """
    place.folder.mkdir(mode=0o700, exist_ok=True)
    place.folder.chmod(0o700)
    give_to_owner(place.folder, place)
    descriptor = os.open(place.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        give_to_owner(descriptor, place)
    finally:
        os.close(descriptor)


def give_to_owner(target: Path | int, place: TelemetryPlace) -> None:
    """What root makes belongs to the owner of the device root, or its service could not go on with it.

    Raises:
        OSError: It cannot be given away.
    """
    if os.geteuid() == 0:
        owner = place.root.stat()
        os.chown(target, owner.st_uid, owner.st_gid)
