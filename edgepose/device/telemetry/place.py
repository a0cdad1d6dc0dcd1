"""Where telemetry lies in a device root.

```
ROOT/var/telemetry/                    mode 0700
ROOT/var/telemetry/telemetry.sqlite3   mode 0600, with SQLite's own -wal and -shm beside it
ROOT/var/telemetry/damaged.sqlite3     the last database that could not be read whole
ROOT/var/telemetry/writer.lock         held by the run that writes
ROOT/var/telemetry.prom                for whoever scrapes locally: mode 0640
```
All of it belongs to the user who runs the model; nobody else writes here (``require_own_var``).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgepose.device.install.layout import Layout
from edgepose.device.install.var_folder import make_var
from edgepose.errors import ConfigError

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
        return Layout(self.root).var / "telemetry"

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
        return Layout(self.root).var / "telemetry.prom"

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
    try:
        make_var(place.root)
    except ConfigError as problem:
        raise OSError(problem.message) from problem
    place.folder.mkdir(mode=0o700, exist_ok=True)
    place.folder.chmod(0o700)
    descriptor = os.open(place.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
