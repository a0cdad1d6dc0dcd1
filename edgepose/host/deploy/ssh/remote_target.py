"""A device behind ssh as the target of a deployment.

What is there afterwards, under ``/var/lib/edgepose`` for root and ``~/.local/share/edgepose`` for others:

```
root/                 the device root with its two slots
runtimes/DIGEST/      the wheels of the runtime, unpacked
code/DIGEST/          edgepose's device side
bin/edgepose-device   starts the newest of both
blobs/DIGEST          files of the newest bundle, so that the next one sends only what changed
```
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgepose.errors import DeployError
from edgepose.host.deploy.ssh.bundle_segments import Segment, as_request, cut
from edgepose.host.deploy.ssh.connection import Connection
from edgepose.host.deploy.ssh.device_code import device_code
from edgepose.host.deploy.ssh.device_program import DeviceProgram
from edgepose.host.deploy.ssh.device_store import Blob, DeviceStore, Sent
from edgepose.host.deploy.ssh.fit import check_fits, chosen_python
from edgepose.host.deploy.ssh.runtime_wheels import (
    RuntimeLock,
    WheelTarget,
    default_runtime_cache,
    lock_runtime,
    runtime_requirements,
)
from edgepose.spec.device_probe import DevicePython
from edgepose.spec.device_profile import DeviceProfile

_LAUNCHER = "bin/edgepose-device"
_BUNDLE = "incoming/bundle.epb"
_MIB = 1 << 20
Say = Callable[[str], None]


@dataclass
class RemoteTarget:
    """A device.

    Attributes:
        connection: The device, probed.
        roots: Roots of the keys that sign for it, from version 1 on; empty for unsigned bundles.
        say: Takes one line of progress.
        sent: Called with the bytes sent and those to send.
        cache: Where the runtimes' wheels are kept here.
    """

    connection: Connection
    roots: tuple[bytes, ...] = ()
    say: Say = lambda _line: None
    sent: Sent = lambda _done, _total: None
    cache: Path = field(default_factory=default_runtime_cache)
    _profile: DeviceProfile | None = None
    _next_version: int = 1

    def check(self, profile: DeviceProfile) -> None:
        """Refuses a device of no use, before any work and without changing it.

        Raises:
            DeployError: The device is not the profile's, or cannot be asked.
            EdgeposeError: As the device's own check of its root raises.
        """
        check_fits(profile, self.connection.probe)
        self._profile = profile
        if self.connection.probe.root_exists:
            roots = [base64.b64encode(root).decode() for root in self.roots]
            answer = self.connection.program.ask(
                ["readiness", profile.id, "--root", self.connection.root], [json.dumps(roots).encode()]
            )
            self._next_version = int(answer["next_version"])

    def next_version(self) -> int:
        """The bundle version that comes after everything installed so far."""
        return self._next_version

    def install(self, bundle: Path, *, allow_downgrade: bool, say: Callable[[str], None]) -> dict[str, Any]:
        """Sends what the device lacks and has it installed there.

        Raises:
            DeployError: The device is full or unreachable, or its health check failed; the version before
                is active.
            EdgeposeError: As the installer on the device raises.
        """
        python = self._python()
        store = DeviceStore(self.connection.host, python.path, self.connection.probe.base)
        lock, folder = self._runtime(python, say)
        content = bundle.read_bytes()
        segments = cut(content)
        code = device_code()
        names = (f"runtimes/{lock.digest}", f"code/{hashlib.sha256(code).hexdigest()}")
        blobs = [*self._bundle_blobs(content, segments), *self._runtime_blobs(lock, folder, code, names)]
        self._send(store, blobs, self._requests(content, segments, lock, names), say)
        command = (f"{self.connection.probe.base}/{_LAUNCHER}",)
        words = ["install", f"{self.connection.probe.base}/{_BUNDLE}", "--root", self.connection.root]
        words += ["--allow-downgrade"] if allow_downgrade else []
        enroll = [self.roots[-1]] if self.roots else []
        words += ["--enroll", "-"] if enroll else []
        say(f"Installing on {self.connection.host.name}, with a health check there")
        program = DeviceProgram(self.connection.host, command)
        report = program.ask(words, enroll)
        if self.connection.probe.systemd and program.ask(["units", "restart"])["restarted"]:
            say("The service was restarted with it")
        self._tidy(store, names, segments, say)
        return {**report, "host": self.connection.host.name, "bytes_sent": store.bytes_sent}

    def _python(self) -> DevicePython:
        python = None if self._profile is None else chosen_python(self._profile, self.connection.probe)
        if python is None:
            raise DeployError("The device was not checked.")
        return python

    def _runtime(self, python: DevicePython, say: Say) -> tuple[RuntimeLock, Path]:
        probe = self.connection.probe
        if self._profile is None or probe.glibc is None:
            raise DeployError("The device was not checked.")
        target = WheelTarget(probe.arch, probe.glibc, python.version)
        return lock_runtime(runtime_requirements(self._profile, target), target, self.cache, say)

    def _bundle_blobs(self, content: bytes, segments: list[Segment]) -> list[Blob]:
        return [
            Blob(part.sha256, part.size, content[part.start : part.start + part.size])
            for part in segments
            if part.sha256
        ]

    def _runtime_blobs(
        self, lock: RuntimeLock, folder: Path, code: bytes, names: tuple[str, str]
    ) -> list[Blob]:
        runtime, program = map(self._lacks, names)
        wheels = lock.wheels if runtime else ()
        blobs = [Blob(wheel.sha256, wheel.size, folder / wheel.file) for wheel in wheels]
        return [*blobs, Blob(names[1].removeprefix("code/"), len(code), code)] if program else blobs

    def _requests(
        self, content: bytes, segments: list[Segment], lock: RuntimeLock, names: tuple[str, str]
    ) -> list[dict[str, Any]]:
        """What the device makes of the files, in order."""
        parts = ([wheel.sha256 for wheel in lock.wheels], [names[1].removeprefix("code/")])
        unpack = [
            {"op": "unpack", "to": name, "blobs": digests}
            for name, digests in zip(names, parts, strict=True)
            if self._lacks(name)
        ]
        assemble = {
            "op": "assemble",
            "to": _BUNDLE,
            "segments": as_request(content, segments),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        return [
            *unpack,
            assemble,
            {"op": "write", "to": _LAUNCHER, "text": self._launcher(names), "mode": 0o755},
        ]

    def _lacks(self, name: str) -> bool:
        return name.rpartition("/")[2] not in self.connection.probe.runtimes

    def _send(self, store: DeviceStore, blobs: list[Blob], requests: list[dict[str, Any]], say: Say) -> None:
        lacking = store.missing(blob.sha256 for blob in blobs)
        to_send = [blob for blob in blobs if blob.sha256 in lacking]
        size_mib = sum(blob.size for blob in to_send) / _MIB
        say(f"Sending {size_mib:.1f} MiB in {len(to_send)} files, {len(blobs) - len(to_send)} are there")
        store.send(to_send, requests, self.sent)

    def _tidy(self, store: DeviceStore, names: tuple[str, str], segments: list[Segment], say: Say) -> None:
        """Removes archives that were unpacked and old runtimes; what is left the next call removes."""
        keep = {
            "runtimes": {"names": [names[0].removeprefix("runtimes/")], "others": 1},
            "code": {"names": [names[1].removeprefix("code/")], "others": 1},
            "blobs": {"names": [part.sha256 for part in segments if part.sha256], "others": 0},
            "incoming": {"names": [], "others": 0},
        }
        try:
            store.send([], [{"op": "sweep", "keep": keep}])
        except DeployError as problem:
            say(f"The new version is active; what it replaced was not removed: {problem.message}")

    def _launcher(self, names: tuple[str, str]) -> str:
        base = self.connection.probe.base
        path = ":".join(f"{base}/{name}" for name in reversed(names))
        python, root = self._python().path, shlex.quote(self.connection.root)
        return (
            "#!/bin/sh\n"
            "# Written by edgepose deploy: the newest runtime and code that came here.\n"
            f"export PYTHONPATH={shlex.quote(path)} EDGEPOSE_ROOT=${{EDGEPOSE_ROOT:-{root}}}\n"
            f'exec {shlex.quote(python)} -s -m edgepose.cli.device_main "$@"\n'
        )
