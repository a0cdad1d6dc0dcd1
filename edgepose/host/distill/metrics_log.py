"""The log of a run: one JSON object a line, flushed, so that it can be watched."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from edgepose.errors import ConfigError
from edgepose.spec.whole_file import open_appending, write_whole


class MetricsLog:
    """Appends lines; on resume the lines after the checkpoint are dropped first.

    Args:
        path: The file.
        first_step: Lines from this step on are old ones that will be written again.
    """

    def __init__(self, path: Path, first_step: int = 0) -> None:
        self._path = path
        self._guarded(lambda: self._keep_before(first_step))

    def write(self, step: int, **figures: Any) -> None:
        """Appends one line.

        Raises:
            ConfigError: The file cannot be written.
        """
        line = msgspec.json.encode({"step": step, **figures}) + b"\n"

        def append() -> None:
            with os.fdopen(open_appending(self._path), "wb") as stream:
                stream.write(line)

        self._guarded(append)

    def last(self, name: str) -> float | None:
        """The newest figure of this name; None without any."""
        lines = self._path.read_bytes().splitlines() if self._path.exists() else []
        found = (msgspec.json.decode(line).get(name) for line in reversed(lines))
        return next((float(value) for value in found if value is not None), None)

    def _keep_before(self, first_step: int) -> None:
        if not self._path.exists():
            return
        kept = []
        for line in self._path.read_bytes().splitlines(keepends=True):
            try:
                step = msgspec.json.decode(line)["step"]
            except (msgspec.DecodeError, KeyError, TypeError):
                # A line that a kill cut short.
                continue
            if step <= first_step and first_step > 0:
                kept.append(line)
        write_whole(self._path, kept)

    def _guarded(self, act: Any) -> None:
        try:
            act()
        except OSError as problem:
            raise ConfigError(f"Cannot write {self._path}: {problem.strerror}.") from problem


class SilentLog:
    """The log of a process that does not lead."""

    def write(self, step: int, **figures: Any) -> None:
        """Writes nothing."""

    def last(self, name: str) -> float | None:
        """Knows nothing."""
