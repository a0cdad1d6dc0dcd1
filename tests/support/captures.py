"""Looks into the processes of a supervised source, and kills them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.supervised.supervised_source import SupervisedSource


def child_of(pid: int) -> int | None:
    """The only child of a process, None without one (proc_pid_task_children(5))."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def capture_pid(source: SupervisedSource) -> int:
    """The process that reads the camera."""
    pid = child_of(source.keeper_pid)
    assert pid is not None
    return pid


def is_alive(pid: int) -> bool:
    """Whether it runs; a dead process that nobody has waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def wait_until(condition: Callable[[], bool], limit_s: float, what: str) -> float:
    """Waits, and says how long."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > limit_s:
            pytest.fail(f"after {limit_s:.0f} s still not: {what}")
        time.sleep(0.02)
    return time.monotonic() - begun


def read_frame(source: SupervisedSource, limit_s: float = 20.0) -> Frame:
    """The next frame, however long the camera is gone."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        frame = source.read(0.2)
        if frame is not None:
            return frame
    pytest.fail(f"no frame within {limit_s:.0f} s")


def kill_capture(source: SupervisedSource, number: int = signal.SIGKILL) -> None:
    """Sends a signal to the process that reads the camera."""
    os.kill(capture_pid(source), number)


def read_on(source: SupervisedSource) -> None:
    """Reads until the source ends."""
    while not source.ended:
        source.read(1.0)
