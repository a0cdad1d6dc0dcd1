"""The systemd unit of the runtime: keeps the camera, keeps the network away. Pure text.

Every directive is explained in docs/systemd.md; systemd.exec(5) and systemd.resource-control(5) define them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepose.errors import ConfigError

UNIT_NAME = "edgepose.service"
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
        root: The device root.
        source: SOURCE of ``edgepose-device service``.
        user: User and group of the service; it is in ``video`` as well.
        devices: What it may open, as ``DeviceAllow`` names it.
        writable: Folders that it may write beside ``ROOT/var``.
        watchdog_s: Restarted after so long without a frame.
    """

    program: str
    root: str
    source: str
    user: str = "edgepose"
    devices: tuple[str, ...] = ("char-video4linux rw",)
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
SupplementaryGroups=video
ReadWritePaths={folders.replace("%", "%%")}
{devices}{_NO_NETWORK}{HARDENING}
[Install]
WantedBy=multi-user.target
"""


def devices_of(accelerators: tuple[str, ...]) -> tuple[str, ...]:
    """What a service with these accelerators may open, beside the camera.

    Args:
        accelerators: As the probe names them.
    """
    known = {
        "edgetpu_usb": ("char-usb_device rw",),
        "edgetpu_pci": ("/dev/apex_0 rw",),
        "nvidia": (
            "/dev/nvhost-ctrl rw", "/dev/nvhost-ctrl-gpu rw", "/dev/nvhost-gpu rw", "/dev/nvmap rw",
            "/dev/nvgpu/igpu0/ctrl rw",
        ),
    }  # fmt: skip
    found = [device for name in accelerators for device in known.get(name, ())]
    return ("char-video4linux rw", "char-media rw", *found)
