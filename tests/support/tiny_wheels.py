"""Wheels of a few bytes, and a package index that is a folder."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest


def write_wheel(folder: Path, name: str, version: str, requires: Sequence[str] = (), body: str = "") -> Path:
    """A wheel whose only module says its version; ``body`` makes another file of the same name."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    about = f"{name}-{version}.dist-info"
    files = {
        f"{name}.py": f"__version__ = {version!r}\n{body}",
        f"{about}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n"
        "License-Expression: MIT\n" + "".join(f"Requires-Dist: {requirement}\n" for requirement in requires),
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = ""
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        record += f"{file},sha256={digest},{len(text)}\n"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{about}/RECORD": f"{record}{about}/RECORD,,\n"}.items():
            wheel.writestr(zipfile.ZipInfo(file), text)
    return path


def use_index(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has pip, wherever it is started, know this folder and nothing else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_CACHE_DIR", "1")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
