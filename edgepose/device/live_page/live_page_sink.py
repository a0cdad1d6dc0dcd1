"""The live page as an output of the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from edgepose.device.live_page.page_state import EVENT, PAGE
from edgepose.device.output.fed_process import FedProcess
from edgepose.device.output.jsonl_sink import pose_line
from edgepose.device.output.pose_sink import FrameResult
from edgepose.pose.skeleton import Skeleton
from edgepose.spec.telemetry_record import EventKind, RuntimeEvent

DEFAULT_PORT = 8765
_MODULE = "edgepose.device.live_page.page_process"


class LivePageSink:
    """Feeds the process that serves the page.

    Args:
        port: On 127.0.0.1; 0 takes a free one.
        say: Takes the address.

    Raises:
        ConfigError: The port is taken.
        DeviceError: The process does not start.
    """

    def __init__(self, port: int, say: Callable[[str], None]) -> None:
        self._process: FedProcess | None = FedProcess(_MODULE, [str(port)])
        self._skeleton = ""
        self.address = self._process.place
        say(f"Live page, on this machine alone: {self.address}")

    def write(self, result: FrameResult) -> None:
        """Passes a frame's poses on.

        Raises:
            ModelError: A coordinate or score is NaN or infinite.
        """
        if self._process is None:
            return
        skeleton = result.poses.skeleton
        if skeleton.name != self._skeleton and self._process.send(skeleton_line(skeleton)):
            self._skeleton = skeleton.name
        for change in result.rate_changes:
            kind: EventKind = "rate_restored" if change.limit_fps is None else "rate_lowered"
            self.note(RuntimeEvent(kind=kind, subject=change.reason, value=change.limit_fps))
        self._process.send(pose_line(result))

    def note(self, event: RuntimeEvent) -> None:
        """Passes an event on, such as drift; from the thread that writes."""
        if self._process is not None:
            self._process.send(event_line(event))

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (the page shows what came)
        """Ends the page; closing twice is harmless."""
        if self._process is not None:
            self._process.close()
            self._process = None


def skeleton_line(skeleton: Skeleton) -> bytes:
    """What the page has to know to draw limbs."""
    return _line({"schema": PAGE, "skeleton": skeleton.name, "edges": [list(e) for e in skeleton.edges]})


def event_line(event: RuntimeEvent) -> bytes:
    """An event for the page."""
    return _line({"schema": EVENT, "kind": event.kind, "subject": event.subject, "value": event.value})


def _line(record: dict[str, Any]) -> bytes:
    return (json.dumps(record, separators=(",", ":"), allow_nan=False) + "\n").encode()
