"""edgepose's own device side as one file, the same bytes for the same sources."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from edgepose.spec.packaged_data import packaged_folder

_PACKAGE = Path(__file__).resolve().parents[3]
# What only the host does stays here.
_NOT_ON_DEVICES = {"host", "__pycache__", "_data"}
_DATA = ("device_profiles", "model_specs")
# The earliest time that a zip file can hold (APPNOTE.TXT 4.4.6): sources of one content make one file.
_NO_TIME = (1980, 1, 1, 0, 0, 0)


@cache
def device_code() -> bytes:
    """A zip file with the package edgepose, without its host side; the same for all devices of a call."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(_files()):
            entry = zipfile.ZipInfo(name, _NO_TIME)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()


def _files() -> Iterator[tuple[str, Path]]:
    for path in _PACKAGE.rglob("*"):
        inside = path.relative_to(_PACKAGE)
        if path.is_file() and inside.parts[0] not in _NOT_ON_DEVICES and "__pycache__" not in inside.parts:
            yield f"edgepose/{inside.as_posix()}", path
    for name in _DATA:
        folder = packaged_folder(name)
        for path in folder.rglob("*"):
            if path.is_file():
                yield f"edgepose/_data/{name}/{path.relative_to(folder).as_posix()}", path
