"""Finds the data folders that live at the project's top level and travel inside the wheel."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import ConfigError

_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_folder(name: str) -> Path:
    """Returns ``device_profiles``, ``model_specs`` or ``calibration_data``.

    An installed wheel has a copy in ``edgepose/_data``; a checkout has none, so that the folders at its
    top level stay editable.

    Raises:
        ConfigError: The folder is in neither place: the installation is broken.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"The packaged folder '{name}' is missing.", "Reinstall edgepose.")
