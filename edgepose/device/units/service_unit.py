"""The units of systemd as text: the service's, and a network camera's; which a source needs. Pure.

The service keeps the camera and the accelerator and has no network; the camera's unit reaches one address and
has no model. Every directive is explained in docs/systemd.md; systemd.exec(5) and systemd.resource-control(5)
define them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgepose.accelerators import accelerator, device_kinds_of
from edgepose.accelerators.cuda import JETSON_DEVICES
from edgepose.device.capture.source_address import SourceAddress, SourceKind, camera_host, parse_source
from edgepose.device.install.layout import UNIT_NAME
from edgepose.errors import ConfigError
from edgepose.records.device_profile import DeviceProfile

CAMERA_UNIT = "edgepose-camera.service"
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./\[\]-]+")

_NO_NETWORK = """\
# No way out: no network at all, and no socket but the one to systemd.
PrivateNetwork=yes
IPAddressDeny=any
RestrictAddressFamilies=AF_UNIX
"""

HARDENING = """\
# Nothing to gain: no new rights, no capability, no other system calls than a service needs.
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @mount @debug @cpu-emulation @obsolete @swap @reboot @module @raw-io
SystemCallFilter=~io_uring_setup io_uring_enter io_uring_register process_vm_readv process_vm_writev
SystemCallFilter=sched_setaffinity sched_setscheduler mbind set_mempolicy seccomp
SystemCallFilter=landlock_create_ruleset landlock_add_rule landlock_restrict_self
SystemCallErrorNumber=EPERM
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
KeyringMode=private
# Nothing to see: the system read-only, no home, no other processes, no devices but the camera's.
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=all
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateUsers=yes
PrivateIPC=yes
RemoveIPC=yes
DevicePolicy=closed
UMask=0077
# No picture in a crash report.
LimitCORE=0
"""


@dataclass(frozen=True)
class ServiceRequest:
    """What runs.

    Attributes:
        program: ``edgepose-device`` on this device.
        user: User and group of the service.
        devices: What it may open, as ``DeviceAllow`` names it.
        groups: Groups that own these; each must be there, or systemd does not start the service.
        writable: Folders that it may write beside ``ROOT/var``.
        watchdog_s: Restarted after so long without a frame.
    """

    program: str
    root: str
    source: str
    user: str = "edgepose"
    devices: tuple[str, ...] = ("char-video4linux rw",)
    groups: tuple[str, ...] = ("video",)
    writable: tuple[str, ...] = ()
    watchdog_s: int = 30

    def __post_init__(self) -> None:
        for what, value in (
            ("program", self.program), ("root", self.root), ("source", self.source), ("user", self.user),
        ):  # fmt: skip
            require_plain(what, value)
        if self.user in {"root", "0"}:
            raise ConfigError(
                "The service must not run as root: it would own what it runs.",
                "Leave --user out; units install makes the user 'edgepose'.",
            )


def require_plain(what: str, value: str) -> None:
    """Refuses what would mean something else in a unit.

    Raises:
        ConfigError: It has a space, a quote or the like.
    """
    if not _PLAIN.fullmatch(value) or value.startswith("-"):
        raise ConfigError(
            f"The {what} '{value}' cannot stand in a systemd unit: it has a space, a quote or "
            "another sign that systemd gives a meaning of its own.",
            "Choose a path of letters, digits and ./_-",
        )


def service_unit(request: ServiceRequest) -> str:
    """The text of ``edgepose.service``."""
    devices = "".join(f"DeviceAllow={device}\n" for device in request.devices)
    folders = " ".join((f"{request.root}/var", *request.writable))
    # A percent sign begins a specifier of systemd.
    command = f"{request.program} service {request.source} --root {request.root}".replace("%", "%%")
    begin = f"{request.program} service-begin --root {request.root} --user {request.user}".replace("%", "%%")
    camera = f"Wants={CAMERA_UNIT}\nAfter={CAMERA_UNIT}\n" if request.source.startswith("shared:") else ""
    return f"""\
# Written by edgepose-device units install; its next call replaces it. Local changes belong into
# /etc/systemd/system/{UNIT_NAME}.d/*.conf
[Unit]
Description=edgepose: human poses from a camera, frames never leave this device
{camera}# Three starts without a steady minute, and the service itself returns to the model before.
StartLimitIntervalSec=600
StartLimitBurst=20

[Service]
Type=notify
NotifyAccess=main
# As root: decides which version runs, which the service must not. It opens no model and no camera.
ExecStartPre=+{begin}
ExecStart={command}
Restart=always
RestartSec=2
WatchdogSec={request.watchdog_s}
# A delegate may build its engine at the first start, which takes minutes.
TimeoutStartSec=900
User={request.user}
Group={request.user}
SupplementaryGroups={" ".join(request.groups)}
ReadWritePaths={folders.replace("%", "%%")}
{devices}{_NO_NETWORK}{HARDENING}
[Install]
WantedBy=multi-user.target
"""


_VIDEO = ("char-video4linux rw",)
# A sensor on a ribbon has its own nodes for control (media), and its buffers come from heaps.
_SENSOR = (*_VIDEO, "char-media rw", "char-dma_heap rw")
_CAMERA_DEVICES: dict[SourceKind, tuple[str, ...]] = {
    "camera": _VIDEO,
    "v4l2": _VIDEO,
    "picamera2": _SENSOR,
    # A Jetson's camera hands over buffers of its GPU.
    "csi": (*_SENSOR, *JETSON_DEVICES.allow),
}


# What the runtime's unit is given as its SOURCE.
SHARED_FOLDER = "/run/edgepose-camera"
SHARED_SOURCE = f"shared://{SHARED_FOLDER}"
ADDRESS_FILE = "camera.url"


@dataclass(frozen=True)
class CameraUnitRequest:
    """What is read.

    Attributes:
        program: ``edgepose-device`` on this device.
        camera: IP address of the camera.
        address_file: Holds the camera's whole URL with its password, and belongs to root.
        root: The device root, which this unit must not see.
    """

    program: str
    camera: str
    address_file: str
    root: str
    user: str = "edgepose"

    def __post_init__(self) -> None:
        for what in ("program", "camera", "address_file", "root"):
            require_plain(what.replace("_", " "), getattr(self, what))


def camera_unit(request: CameraUnitRequest) -> str:
    """The text of ``edgepose-camera.service``."""
    return f"""\
# Written by edgepose-device units install; its next call replaces it. Local changes belong into
# /etc/systemd/system/{CAMERA_UNIT}.d/*.conf
[Unit]
Description=edgepose: reads one network camera for a service that has no network
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
LoadCredential=camera:{request.address_file}
ExecStart={request.program} camera --camera-file ${{CREDENTIALS_DIRECTORY}}/camera --share {SHARED_FOLDER}
Restart=always
RestartSec=5
RuntimeDirectory=edgepose-camera
RuntimeDirectoryMode=0700
# The service may be looking while this one is started again.
RuntimeDirectoryPreserve=restart
User={request.user}
Group={request.user}
# One way only: to the camera, by its number.
IPAddressDeny=any
IPAddressAllow={request.camera}
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
# No model and no telemetry.
InaccessiblePaths=-{request.root}
{HARDENING}
[Install]
WantedBy=multi-user.target
"""


# Below the file system's root.
ADDRESS_PATH = Path("etc/edgepose") / ADDRESS_FILE


@dataclass(frozen=True)
class UnitPlan:
    """What is written.

    Attributes:
        units: Names and texts, in the order in which they are started.
        address: A network camera's address, which goes into a file of its own; None for other cameras.
        address_file: That file, below the file system's root.
    """

    units: tuple[tuple[str, str], ...]
    address: SourceAddress | None = None
    address_file: Path = ADDRESS_PATH


def plan_units(
    source: str | SourceAddress,
    root: Path,
    user: str,
    program: Path,
    profile: DeviceProfile | None = None,
    has_group: Callable[[str], bool] = lambda _name: True,
) -> UnitPlan:
    """One unit, or for a network camera two.

    Args:
        source: SOURCE as typed.
        root: The device root.
        user: Of the service.
        program: ``edgepose-device`` on this device.
        profile: Whose accelerators the service may open; None: none.
        has_group: Whether the device has a group.

    Raises:
        ConfigError: SOURCE is none, a network camera has a name instead of an address, or something cannot
            stand in a unit.
    """
    address = parse_source(source)
    runtime = profile.runtime if profile else None
    used = [accelerator(name) for name in (runtime.delegate, *runtime.fallback)] if runtime else []
    devices = dict.fromkeys(_CAMERA_DEVICES.get(address.kind, ()))
    devices |= dict.fromkeys(device for kind in device_kinds_of(used) for device in kind.allow)
    groups = dict.fromkeys(name for entry in used for name in entry.groups if has_group(name))
    request = ServiceRequest(
        str(program),
        str(root),
        SHARED_SOURCE if address.kind == "rtsp" else address.typed,
        user,
        devices=tuple(devices),
        groups=tuple(dict.fromkeys(("video", *groups))),
    )
    service = (UNIT_NAME, service_unit(request))
    if address.kind != "rtsp":
        return UnitPlan((service,))
    plan = UnitPlan((), address)
    camera = CameraUnitRequest(str(program), camera_host(address), f"/{plan.address_file}", str(root), user)
    return UnitPlan(((CAMERA_UNIT, camera_unit(camera)), service), address)
