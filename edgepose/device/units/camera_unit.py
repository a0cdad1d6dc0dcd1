"""The systemd unit of a network camera: one address, no model, no telemetry. Pure text.

Every directive is explained in docs/systemd.md; systemd.exec(5) and systemd.resource-control(5) define them.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.device.units.service_unit import CAMERA_UNIT, HARDENING, require_plain

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
        user: User and group, the same as the service's.
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
