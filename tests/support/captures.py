"""Looks into the processes of a supervised source, and kills them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from edgepose.device.capture.frame_source import Frame
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from tests.support.waiting import until


def child_of(pid: int) -> int | None:
    """The only child of a process, None without one (proc_pid_task_children(5))."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def capture_pid(source: SupervisedSource) -> int:
    """The process that reads the camera."""
    pid = child_of(source.supervisor_pid)
    assert pid is not None
    return pid


def is_alive(pid: int) -> bool:
    """Whether it runs; a dead process that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def read_frame(source: SupervisedSource) -> Frame:
    """The next frame, however long the camera is gone."""
    return until(lambda: source.read(0.2), "a frame")


def events_until(source: SupervisedSource, *kinds: str) -> list[str]:
    """The kinds of all events until each of these has come with a frame, in whatever order."""
    met: list[str] = []

    def have_come() -> bool:
        frame = source.read(0.2)
        met.extend(event.kind for event in (() if frame is None else frame.events))
        return set(kinds) <= set(met)

    until(have_come, f"events {', '.join(kinds)}", last=lambda: met)
    return met


def kill_capture(source: SupervisedSource, number: int = signal.SIGKILL) -> None:
    """Sends a signal to the process that reads the camera."""
    os.kill(capture_pid(source), number)


def read_on(source: SupervisedSource) -> None:
    """Reads until the source ends."""
    while not source.ended:
        source.read(1.0)
