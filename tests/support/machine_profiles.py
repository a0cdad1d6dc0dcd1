"""Profiles whose device is the very machine that the tests run on."""

from __future__ import annotations

import re
from pathlib import Path

from edgepose.records.device_profile import profile_paths
from edgepose.runtime import machine


def profile_of_this_machine(profile_id: str, folder: Path, **runtime: str) -> Path:
    """Writes a packaged profile, changed so that this machine is its device.

    Args:
        profile_id: The packaged profile.
        folder: Where ``this-machine.toml`` is written.
        runtime: Lines of the file by their key, as TOML values, to change.
    """
    (source,) = (path for path in profile_paths() if path.stem == profile_id)
    changes = {"id": '"this-machine"', "aliases": "[]", "arch": f'"{machine.architecture()}"', **runtime}
    changes["device_tree_models"] = "[]"
    text = source.read_text(encoding="utf-8")
    for key, value in changes.items():
        text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
    path = folder / "this-machine.toml"
    path.write_text(text, encoding="utf-8")
    return path
