"""What a deployment brings to a device, and what the device makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from edgepose.host.deploy.device_lock import DeviceLock
from edgepose.host.deploy.ssh.bundle_segments import Segment, as_request, cut
from edgepose.host.deploy.ssh.connection import LAUNCHER
from edgepose.host.deploy.ssh.device_store import Blob

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
