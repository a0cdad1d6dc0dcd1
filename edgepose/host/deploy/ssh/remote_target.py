"""A device behind ssh as the target of a deployment.

What is there afterwards, under ``/var/lib/edgepose`` for root and ``~/.local/share/edgepose`` for others:

```
root/                 the device root with its two slots
runtimes/DIGEST/      the wheels of the runtime, unpacked
code/DIGEST/          edgepose's device side, and the bill of materials of both: sbom.cdx.json
bin/edgepose-device   starts the newest of both that passed its health check
blobs/DIGEST          files of the newest bundle, so that the next one sends only what changed
```
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from edgepose.errors import DeployError
from edgepose.host.bundle.device_lock import DeviceLock, find_lock
from edgepose.host.bundle.sbom import with_bill
from edgepose.host.deploy.ssh.connection import LAUNCHER, Connection, check_fits, chosen_python
from edgepose.host.deploy.ssh.device_store import DeviceProgram, DeviceStore, Sent
from edgepose.host.deploy.ssh.remote_host import LONG
from edgepose.host.deploy.ssh.shipment import (
    Shipment,
    WheelTarget,
    check_lock_serves,
    default_runtime_cache,
    device_code,
    fetch_wheels,
)
from edgepose.records.deployment_report import InstallationReport, InstallOptions
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.device_status import DevicePython
from edgepose.records.record import from_builtins

# A launcher takes its place only when what it installed is active: a version that fails its health check
# because of a new runtime leaves the runtime before, too. A program that is read is replaced by rename.
_INSTALL_AND_SWITCH = '"$0" "$@" && cp -p "$0" "$0.$$" && mv -f "$0.$$" "${0%.*}"'
_MIB = 1 << 20
# What a manifest can hold: the largest integer that JSON programs agree on (RFC 8259, 6).
_NEWEST_VERSION = (1 << 53) - 1
Say = Callable[[str], None]


@dataclass
class RemoteTarget:
    """A device.

    Attributes:
        roots: Roots of the keys that sign for it, from version 1 on; empty for unsigned bundles.
        sent: Called with the bytes sent and those to send.
        cache: Where the runtimes' wheels are kept here.
    """

    connection: Connection
    roots: tuple[bytes, ...] = ()
    say: Say = lambda _line: None
    sent: Sent = lambda _done, _total: None
    cache: Path = field(default_factory=default_runtime_cache)
    _profile: DeviceProfile | None = None
    _lock: DeviceLock | None = None
    _next_version: int = 1

    def check(self, profile: DeviceProfile) -> None:
        """Refuses a device of no use, before any work and without changing it.

        Raises:
            DeployError: The device is not the profile's, no wheels are locked for it, or it cannot be asked.
            EdgeposeError: As the device's own check of its root raises.
        """
        check_fits(profile, self.connection.probe)
        self._profile = profile
        target = self._wheel_target()
        self._lock = find_lock(profile, target.python)
        check_lock_serves(self._lock, target, profile.runtime.name)
        if self.connection.probe.root_exists:
            roots = [base64.b64encode(root).decode() for root in self.roots]
            answer = self.connection.program.ask(
                ["readiness", profile.id, "--root", self.connection.root], [json.dumps(roots).encode()]
            )
            self._next_version = _version(answer.get("next_version"), self.connection.host.name)

    def next_version(self) -> int:
        """The bundle version that comes after everything installed so far."""
        return self._next_version

    def install(
        self, bundle: Path, options: InstallOptions, say: Callable[[str], None]
    ) -> InstallationReport:
        """Sends what the device lacks and has it installed there.

        Raises:
            DeployError: The device is full or unreachable, or its health check failed; the version before
                is active.
            EdgeposeError: As the installer on the device raises.
        """
        python, base = self._python(), self.connection.probe.base
        lock = self._lock
        if lock is None:
            raise DeployError("The device was not checked.")
        store = DeviceStore(self.connection.host, python.path, base)
        wheels = fetch_wheels(lock, self._wheel_target(), self.cache, say)
        shipment = Shipment(bundle.read_bytes(), lock, wheels, with_bill(device_code(), lock))
        self._send(store, shipment, say)
        words = ["install", f"{base}/{shipment.incoming}", "--root", self.connection.root]
        words += options.words()
        enroll = [self.roots[-1]] if self.roots else []
        words += ["--enroll", "-"] if enroll else []
        say(f"Installing on {self.connection.host.name}, with a health check there")
        new = ("sh", "-c", _INSTALL_AND_SWITCH, f"{base}/{shipment.new_launcher}")
        answer = DeviceProgram(self.connection.host, new).ask(words, enroll, LONG)
        report = _checked(answer, self.connection.host.name)
        if self.connection.probe.systemd and self.connection.program.ask(["units", "restart"]).get(
            "restarted"
        ):
            say("The service was restarted with it")
        self._tidy(store, shipment, say)
        return replace(report, host=self.connection.host.name, bytes_sent=store.bytes_sent)

    def _python(self) -> DevicePython:
        python = None if self._profile is None else chosen_python(self._profile, self.connection.probe)
        if python is None:
            raise DeployError("The device was not checked.")
        return python

    def _wheel_target(self) -> WheelTarget:
        probe = self.connection.probe
        if probe.glibc is None:
            raise DeployError("The device was not checked.")
        return WheelTarget(probe.arch, probe.glibc, self._python().version)

    def _lacks(self, name: str) -> bool:
        return name.rpartition("/")[2] not in self.connection.probe.runtimes

    def _send(self, store: DeviceStore, shipment: Shipment, say: Say) -> None:
        blobs = shipment.blobs(self._lacks)
        lacking = store.missing(blob.sha256 for blob in blobs)
        to_send = [blob for blob in blobs if blob.sha256 in lacking]
        size_mib = sum(blob.size for blob in to_send) / _MIB
        say(f"Sending {size_mib:.1f} MiB in {len(to_send)} files, {len(blobs) - len(to_send)} are there")
        launchers = [shipment.new_launcher]
        if not self.connection.probe.root_exists:
            # Nothing is there that it could spoil, and a first installation that is cut off can be asked.
            launchers.append(LAUNCHER)
        text = self._launcher(shipment)
        write = [{"op": "write", "to": name, "text": text, "mode": 0o755} for name in launchers]
        store.send(to_send, [*shipment.requests(self._lacks), *write], self.sent)

    def _tidy(self, store: DeviceStore, shipment: Shipment, say: Say) -> None:
        """What is left the next call removes."""
        try:
            store.send([], [shipment.sweep()])
        except DeployError as problem:
            say(f"The new version is active; what it replaced was not removed: {problem.message}")

    def _launcher(self, shipment: Shipment) -> str:
        base = self.connection.probe.base
        path = f"{base}/{shipment.program}:{base}/{shipment.runtime}"
        # -I: neither the working folder nor a variable says what is imported.
        start = f"{base}/{shipment.program}/edgepose/sandbox/python_start.py"
        python, root = self._python().path, shlex.quote(self.connection.root)
        return (
            "#!/bin/sh\n"
            "# Written by edgepose deploy: the newest runtime and code that came here.\n"
            f"export EDGEPOSE_ROOT=${{EDGEPOSE_ROOT:-{root}}}\n"
            f"exec {shlex.quote(python)} -I {shlex.quote(start)} {shlex.quote(path)} "
            'edgepose.cli.device_main "$@"\n'
        )


def _checked(answer: dict[str, Any], host: str) -> InstallationReport:
    _version(answer.get("bundle_version"), host)
    return from_builtins(answer, InstallationReport, f"{host}'s record of the installation", DeployError)


def _version(found: object, host: str) -> int:
    if isinstance(found, int) and not isinstance(found, bool) and 0 < found <= _NEWEST_VERSION:
        return found
    raise DeployError(f"{host} names {str(found)[:40]!r} as a version, expected a number.")
