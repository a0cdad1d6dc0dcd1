"""The runtime as a service: decides which version runs, locks itself in, runs it, and tells systemd."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgepose.device.capture.source_address import SourceAddress, parse_source, require_numeric
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.device.events import EventBus
from edgepose.device.install.installed import note_running
from edgepose.device.install.layout import make_var, require_own_var
from edgepose.device.install.service_start import (
    begin_service,
    excuse_service,
    may_decide,
    prove_service,
    require_decided,
)
from edgepose.device.monitor.drift_sink import DriftChoice
from edgepose.device.run.estimator_choice import EstimatorChoice
from edgepose.device.run.loop import RunRequest, run
from edgepose.device.run.observers import ObserverChoice, open_observers
from edgepose.device.run.sd_notify import SystemdNotifier
from edgepose.device.run.summary import RunSummary
from edgepose.device.sandbox.lock import folders_of_outputs, lock_or_say
from edgepose.errors import ConfigError, DeviceError


@dataclass(frozen=True)
class ServicePermissions:
    """What a user allows although it weakens the promise that frames stay; ``status`` shows it.

    Attributes:
        network_camera: The capture process may connect to an RTSP camera, while nothing but edgepose itself
            keeps it from connecting elsewhere before the camera is open.
        unlocked: The service may run on a kernel that cannot lock it in.
    """

    network_camera: bool = False
    unlocked: bool = False


@dataclass(frozen=True)
class ServiceRequest:
    """What runs.

    Attributes:
        output: JSON lines, added to those that are there; None writes none.
        observers: Who looks on; None keeps telemetry in the root.
    """

    source: str | SourceAddress
    root: Path
    output: Path | None = None
    observers: ObserverChoice | None = None
    permissions: ServicePermissions = field(default_factory=ServicePermissions)


def run_service(request: ServiceRequest, stop: Callable[[], bool], say: Callable[[str], None]) -> RunSummary:
    """Runs until it is stopped or the source ends, locked in from before the first frame on.

    A camera that is gone does not end it: it is waited for, and systemd is told so.

    Raises:
        ConfigError: The address of an RTSP camera is a name, or what the service writes is another user's.
        DeviceError: An RTSP camera is not allowed, or the kernel cannot lock this process in.
        EdgeposeError: As ``begin_service`` and ``run`` raise.
    """
    root = request.root
    address = parse_source(request.source)
    _check_camera(address, request.permissions)

    def noting(note: Callable[[Path], None]) -> Callable[[], None]:
        def take() -> None:
            try:
                note(root)
            except ConfigError as problem:
                # A full disk must not stop poses; the version stays on probation.
                say(f"How this start went could not be noted: {problem.message}")

        return take

    def lock() -> None:
        kept = frozenset({notifier.descriptor} if notifier.descriptor is not None else ())
        unlocked = request.permissions.unlocked
        note_running(root, lock_or_say(kept, say, unlocked=unlocked, writable=writable))

    def stopped() -> bool:
        notifier.waiting()
        return stop()

    require_own_var(root)
    if may_decide(root):
        begin_service(root, say)
    else:
        require_decided(root)
    # Telemetry, drift and how this start went are written there, and nothing of what is installed can be.
    writable = (make_var(root), *folders_of_outputs([request.output]), *address.met_in)
    notifier = SystemdNotifier(steady=noting(prove_service), absent=noting(excuse_service))
    capture = CaptureOptions(lock=not request.permissions.unlocked, patient=True, say=say)
    events = EventBus()
    try:
        with open_observers(
            request.observers or ObserverChoice(telemetry_root=root, drift=DriftChoice(root)), say, events
        ) as opened:
            run_request = RunRequest(
                request.source,
                EstimatorChoice(root=root),
                output=request.output,
                append=True,
                lock=lock,
                observers=(notifier, *opened),
                capture=capture,
                events=events,
            )
            return run(run_request, stopped)
    finally:
        notifier.close(complete=True)


def _check_camera(address: SourceAddress, permissions: ServicePermissions) -> None:
    if address.kind != "rtsp":
        return
    if not permissions.network_camera:
        raise DeviceError(
            "An RTSP camera sends its pictures over the network, and nothing here keeps the process that "
            "reads it from other addresses.",
            "Install it as a unit of its own: edgepose-device units install rtsp://... ; or allow it with "
            "--allow-network-camera.",
        )
    require_numeric(address)
