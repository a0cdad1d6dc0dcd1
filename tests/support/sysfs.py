"""A machine's sensors, planted as files."""

from __future__ import annotations

from pathlib import Path


class PlantedSysfs:
    """A root of a file system with sensors.

    Args:
        root: Where it lies.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(self, name: str, value: object) -> Path:
        """Writes a file below ``sys``."""
        path = self.root / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
        return path
