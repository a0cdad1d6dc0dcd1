"""Finds the data folders that live at the project's top level and travel inside the wheel."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_folder(name: str) -> Path:
    """Returns ``device_profiles`` or ``calibration_data``.

    In a checkout the folder at the top level is used, so that it stays editable; an installed wheel
    has its copy in ``edgepose/_data``.

    Raises:
        ConfigError: The folder is in neither place: the installation is broken.
    """
    for folder in (_PACKAGE.parent / name, _PACKAGE / "_data" / name):
        if folder.is_dir() and (folder.parent / "pyproject.toml").exists() == (
            folder.parent != _PACKAGE / "_data"
        ):
            return folder
    raise ConfigError(f"The packaged folder '{name}' is missing.", "Reinstall edgepose.")
