"""Which units a source needs. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgepose.device.capture.source_address import SourceAddress, camera_host, parse_source
from edgepose.device.units.camera_unit import ADDRESS_FILE, SHARED_SOURCE, CameraUnitRequest, camera_unit
from edgepose.device.units.service_unit import CAMERA_UNIT, UNIT_NAME, ServiceRequest, service_unit

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


def plan_units(source: str | SourceAddress, root: Path, user: str, program: Path) -> UnitPlan:
    """One unit, or for a network camera two.

    Args:
        source: SOURCE as typed.
        root: The device root.
        user: Of the service.
        program: ``edgepose-device`` on this device.

    Raises:
        ConfigError: SOURCE is none, a network camera has a name instead of an address, or something cannot
            stand in a unit.
    """
    address = parse_source(source)
    if address.kind != "rtsp":
        return UnitPlan(
            ((UNIT_NAME, service_unit(ServiceRequest(str(program), str(root), address.typed, user))),)
        )
    plan = UnitPlan((), address)
    request = CameraUnitRequest(str(program), camera_host(address), f"/{plan.address_file}", str(root), user)
    service = service_unit(ServiceRequest(str(program), str(root), SHARED_SOURCE, user, devices=()))
    return UnitPlan(((CAMERA_UNIT, camera_unit(request)), (UNIT_NAME, service)), address)
