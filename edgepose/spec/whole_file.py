"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from edgepose.errors import ConfigError


def write_whole(path: Path, pieces: Iterable[bytes]) -> None:
    """Writes beside the target, flushes to the disk, then renames.

    Args:
        path: The file; an old one stays as it was until the rename.
        pieces: Its content, in order.

    Raises:
        ConfigError: The file cannot be written; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.writelines(pieces)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink()
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
