"""The runtime as a service: decides which version runs, locks itself in, runs it, and tells systemd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.device.capture.source_address import parse_source
from edgepose.device.estimator_choice import EstimatorChoice
from edgepose.device.install.running import note_running
from edgepose.device.install.service_start import begin_service, prove_service
from edgepose.device.observers import ObserverChoice, open_observers
from edgepose.device.run_summary import RunSummary
from edgepose.device.runtime import RunRequest, run
from edgepose.device.sandbox.lock import lock_process
from edgepose.device.units.notice import ServiceNotice
from edgepose.errors import DeployError, DeviceError

# Their pictures come through sockets: an RTSP camera's own, and that of NVIDIA's camera daemon.
_NEED_SOCKETS = ("rtsp", "csi")


def run_service(
    source: str,
    root: Path,
    output: Path | None,
    stop: Callable[[], bool],
    say: Callable[[str], None],
    observers: ObserverChoice | None = None,
) -> RunSummary:
    """Runs until it is stopped or the source ends, locked in from before the first frame on.

    Args:
        source: SOURCE as typed.
        root: The device root.
        output: JSON lines; None writes none.
        stop: Asked after each frame.
        say: Takes one line of progress.
        observers: Who looks on; telemetry in the root by default.

    Raises:
        DeviceError: The source needs sockets, or the kernel cannot lock this process in.
        EdgeposeError: As ``begin_service`` and ``run`` raise.
    """
    kind = parse_source(source).kind
    if kind in _NEED_SOCKETS:
        raise DeviceError(
            f"{kind} cameras send their pictures through sockets, and the service has none.",
            "Use a camera of this machine (v4l2, picamera2), or `edgepose-device run`, which is not locked.",
        )

    def steady() -> None:
        try:
            prove_service(root)
        except DeployError as problem:
            # A full disk must not stop poses; the version stays on probation.
            say(f"Running steadily, which could not be noted: {problem.message}")

    def lock() -> None:
        kept = frozenset({notice.descriptor} if notice.descriptor is not None else ())
        note_running(root, lock_process(kept))

    begin_service(root, say)
    notice = ServiceNotice(steady=steady)
    try:
        with open_observers(observers or ObserverChoice(telemetry_root=root), say) as opened:
            models = EstimatorChoice(root=root)
            request = RunRequest(source, models, output=output, lock=lock, observers=(notice, *opened))
            return run(request, stop)
    finally:
        notice.close(complete=True)
