"""A capture process: opens one source, locks itself in, serves it. It has no model and no telemetry."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import traceback

from edgepose.device.capture.supervised.messages import (
    CapturePipes,
    CaptureProblem,
    CaptureTask,
    MessageKind,
    SourceFacts,
)
from edgepose.errors import DeviceError, EdgeposeError
from edgepose.records.display_text import hide_logins, visible_lines
from edgepose.records.record import to_json

# include/uapi/linux/prctl.h
_PR_SET_PDEATHSIG = 1


def run_capture(task: CaptureTask, pipes: CapturePipes) -> int:
    """Runs to the end; returns the exit code."""
    try:
        _die_with(pipes.supervisor)
        _serve(task, pipes)
    except EdgeposeError as problem:
        text = CaptureProblem.of(problem).packed()
        # A file's error comes after the frames before it; a camera's is the supervisor's to judge.
        pipes.report(MessageKind.FAILED, text) if task.live else pipes.say(MessageKind.FAILED, text)
        return problem.exit_code
    except Exception:  # noqa: BLE001 (a forked process must not return into its parent's code)
        # Here end all libraries' own errors, which may name the address with its password.
        sys.stderr.write(visible_lines(hide_logins(traceback.format_exc())))
        return 1
    return 0


def _serve(task: CaptureTask, pipes: CapturePipes) -> None:
    # OpenCV is imported here, not in the supervisor, which has nothing to do with images.
    import cv2

    from edgepose.device.capture.open_source import open_source
    from edgepose.device.capture.supervised.serving import Server
    from edgepose.device.capture.supervised.shared_images import WrittenImages

    cv2.setNumThreads(1)
    images = WrittenImages(pipes.memory)
    source = open_source(task.address, images)
    try:
        if task.lock:
            _lock(task)
        info = source.info
        facts = SourceFacts(fps=info.fps, frame_count=info.frame_count)
        pipes.say(MessageKind.OPENED, to_json(facts).encode())
        Server(source, images, pipes, task.limits().frozen_s).serve()
    finally:
        source.close()


def _lock(task: CaptureTask) -> None:
    from edgepose.device.sandbox.lock import LockScope, lock_process

    if task.kind == "rtsp":
        lock_process(scope=LockScope.CAMERA)
    elif task.kind == "csi":
        lock_process(scope=LockScope.DAEMON)
    else:
        lock_process()


def _die_with(supervisor: int) -> None:
    """A camera that no one reads must not stay taken."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # It may have ended before it was asked for a sign.
    if os.getppid() != supervisor:
        raise DeviceError("The supervisor of this capture process has ended.")
