"""What a deployment brings to a device, and what the device makes of it.

Cuts a bundle at its files, so that a device gets only those that it lacks.

edgepose's own device side as one file, the same bytes for the same sources.
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from edgepose.host.bundle.device_lock import DeviceLock
from edgepose.host.deploy.ssh.connection import LAUNCHER
from edgepose.host.deploy.ssh.device_store import Blob
from edgepose.records.files import packaged_folder
from edgepose.trust.bundle_reader import BLOCK_BYTES, header_size_bytes, padding_bytes

# Smaller files cost more as files of their own than they save.
_INLINE_BYTES = 4096


@dataclass(frozen=True)
class Segment:
    """A part of a file.

    Attributes:
        start: Its first byte.
        size: Its bytes.
        sha256: Its digest where it is kept on the device; None where it travels with the request.
    """

    start: int
    size: int
    sha256: str | None


def cut(content: bytes) -> list[Segment]:
    """The segments of a bundle, in order, without a gap.

    Args:
        content: A whole bundle; what cannot be told as one stays inline.
    """
    segments: list[Segment] = []
    position = begun = 0
    while position + BLOCK_BYTES <= len(content):
        size = header_size_bytes(content[position : position + BLOCK_BYTES])
        start = position + BLOCK_BYTES
        if size is None or start + size > len(content):
            break
        if size >= _INLINE_BYTES:
            segments.append(Segment(begun, start - begun, None))
            segments.append(Segment(start, size, hashlib.sha256(content[start : start + size]).hexdigest()))
            begun = start + size
        position = start + size + padding_bytes(size)
    if begun < len(content):
        segments.append(Segment(begun, len(content) - begun, None))
    return segments


def as_request(content: bytes, segments: list[Segment]) -> list[dict[str, Any]]:
    """The segments as the device's store takes them."""
    return [
        {"sha256": part.sha256}
        if part.sha256
        else {"inline": base64.b64encode(content[part.start : part.start + part.size]).decode()}
        for part in segments
    ]


# As long as a deployment may take that another host has begun.
_SPARE_S = 3600


@dataclass(frozen=True)
class Shipment:
    """A bundle with the runtime and the code that install it.

    Attributes:
        bundle: The bundle.
        lock: The runtime's wheels.
        wheels: Their folder here.
        code: edgepose's device side.
    """

    bundle: bytes
    lock: DeviceLock
    wheels: Path
    code: bytes

    @cached_property
    def runtime(self) -> str:
        """Folder of the runtime on the device."""
        return f"runtimes/{self.lock.digest}"

    @cached_property
    def program(self) -> str:
        """Folder of the code on the device."""
        return f"code/{self._code_sha256}"

    @cached_property
    def incoming(self) -> str:
        """The bundle on the device: a name of its own, as another host may bring another one."""
        return f"incoming/{self._bundle_sha256}.epb"

    @cached_property
    def new_launcher(self) -> str:
        """Starts this runtime and code before they have proved themselves."""
        return f"{LAUNCHER}.{hashlib.sha256((self.runtime + self.program).encode()).hexdigest()[:16]}"

    def blobs(self, lacks: Callable[[str], bool]) -> list[Blob]:
        """The files; those of a folder that is there are not needed.

        Args:
            lacks: Whether the device lacks a folder.
        """
        found = [
            Blob(part.sha256, part.size, self.bundle[part.start : part.start + part.size])
            for part in self._segments
            if part.sha256
        ]
        if lacks(self.runtime):
            files = [(one.sha256, self.wheels / one.file) for one in self.lock.wheels]
            found += [Blob(sha256, path.stat().st_size, path) for sha256, path in files]
        if lacks(self.program):
            found.append(Blob(self._code_sha256, len(self.code), self.code))
        return found

    def requests(self, lacks: Callable[[str], bool]) -> list[dict[str, Any]]:
        """Folders of the files, and the bundle in one piece; see ``remote/store.py``."""
        parts = {self.runtime: [one.sha256 for one in self.lock.wheels], self.program: [self._code_sha256]}
        unpack = [
            {"op": "unpack", "to": name, "blobs": digests} for name, digests in parts.items() if lacks(name)
        ]
        assemble = {
            "op": "assemble",
            "to": self.incoming,
            "segments": as_request(self.bundle, self._segments),
            "sha256": self._bundle_sha256,
        }
        return [*unpack, assemble]

    def sweep(self) -> dict[str, Any]:
        """Removes unpacked archives and what this replaced, but for the one before, which may be running."""
        runtime, program = (name.rpartition("/")[2] for name in (self.runtime, self.program))
        bundle = self.incoming.rpartition("/")[2]
        kept = [part.sha256 for part in self._segments if part.sha256]
        unpacked = [self._code_sha256, *(one.sha256 for one in self.lock.wheels)]
        keep = {
            "runtimes": {"names": [runtime], "others": 1},
            "code": {"names": [program], "others": 1},
            "blobs": {"names": kept, "others": 0, "done": unpacked, "spare_s": _SPARE_S},
            "incoming": {"names": [], "others": 0, "done": [bundle], "spare_s": _SPARE_S},
            "bin": {"names": [LAUNCHER.rpartition("/")[2]], "others": 0, "spare_s": _SPARE_S},
        }
        return {"op": "sweep", "keep": keep}

    @cached_property
    def _segments(self) -> list[Segment]:
        return cut(self.bundle)

    @cached_property
    def _bundle_sha256(self) -> str:
        return hashlib.sha256(self.bundle).hexdigest()

    @cached_property
    def _code_sha256(self) -> str:
        return hashlib.sha256(self.code).hexdigest()


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
