"""Where the keys of a developer or team are, and one writer at a time.

```
HOME/private/ROLE-KEYID.pem   a private key, encrypted; mode 0600 in a folder of mode 0700
HOME/private/salt             stretches the passphrase
HOME/metadata/N.root.json     every root there ever was; anybody may have them
HOME/metadata/timestamp.json, snapshot.json, targets.json
HOME/lock                     held while something is signed
```
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ConfigError

HOME_VARIABLE = "EDGEPOSE_KEYS_HOME"


@dataclass(frozen=True)
class KeyHome:
    """The paths of a key home."""

    folder: Path

    @property
    def private(self) -> Path:
        """The private keys."""
        return self.folder / "private"

    @property
    def salt(self) -> Path:
        """What the passphrase is stretched with."""
        return self.private / "salt"

    @property
    def metadata(self) -> Path:
        """The public metadata."""
        return self.folder / "metadata"

    def root(self, version: int) -> Path:
        """A version of root."""
        return self.metadata / f"{version}.root.json"

    def leaf(self, role: str) -> Path:
        """The metadata of a role other than root."""
        return self.metadata / f"{role}.json"

    def private_key(self, role: str, key_id: str) -> Path:
        """The file of a private key."""
        return self.private / f"{role}-{key_id[:16]}.pem"

    def is_encrypted(self) -> bool:
        """Whether a passphrase is needed: any key is encrypted.

        Raises:
            ConfigError: A key cannot be read.
        """
        try:
            return any(b"ENCRYPTED" in path.read_bytes()[:64] for path in self.private.glob("*.pem"))
        except OSError as problem:
            raise ConfigError(f"Cannot read {problem.filename}: {problem.strerror}.") from problem

    def has_keys(self) -> bool:
        """Whether ``keys init`` was ever run here."""
        return self.root(1).is_file()


def read_roots(home: KeyHome) -> list[bytes]:
    """The files of all roots from version 1 on; the newest is what a device is enrolled with.

    Raises:
        ConfigError: There are no keys, or a file cannot be read.
    """
    if not home.has_keys():
        raise ConfigError(f"There are no keys in {home.folder}.", "Run: edgepose keys init")
    roots: list[bytes] = []
    while (path := home.root(len(roots) + 1)).is_file():
        roots.append(read_file(path))
    return roots


def read_file(path: Path) -> bytes:
    """Reads a file of the home.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise ConfigError(
            f"Cannot read {path}: {problem.strerror}.", "Restore the key home from a copy."
        ) from problem


def default_key_home() -> KeyHome:
    """The key home of this user: ``EDGEPOSE_KEYS_HOME``, else in the XDG configuration folder."""
    named = os.environ.get(HOME_VARIABLE, "")
    if named:
        return KeyHome(Path(named))
    config_home = os.environ.get("XDG_CONFIG_HOME", "")
    # The XDG base directory specification: a relative path there is to be ignored.
    base = Path(config_home) if config_home.startswith("/") else Path.home() / ".config"
    return KeyHome(base / "edgepose" / "keys")


@contextmanager
def locked(home: KeyHome) -> Iterator[None]:
    """Lets one process sign at a time, so that no version is given twice.

    Raises:
        ConfigError: The home cannot be written.
    """
    try:
        descriptor = os.open(home.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        raise ConfigError(f"Cannot write the key home {home.folder}: {problem.strerror}.") from problem
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
