"""The supervisor of a camera: starts its capture process, kills it when it hangs, starts it again.

Run as ``python -m``; a :class:`CaptureTask` comes as one line on standard input, whose end ends everything.
The reader is locked in and can start no process; this one can, and has nothing to do with pictures: it maps
no shared memory, imports no OpenCV, and for a camera of this machine it has no sockets either.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.capture_process import run_capture
from edgepose.device.capture.supervised.messages import (
    MESSAGE_BYTES,
    CaptureMessage,
    CapturePipes,
    CaptureProblem,
    CaptureTask,
    MessageKind,
    RecordReader,
    problem_from,
    write_record,
)
from edgepose.device.capture.supervised.shared_images import ReadImages
from edgepose.device.capture.supervised.supervision import Supervision
from edgepose.device.events import CaptureEvent, CaptureEventKind, EventBus
from edgepose.errors import DeviceError, EdgeposeError
from edgepose.records.record import from_json, to_json
from edgepose.sandbox.python_child import start_python

_END_LIMIT_S = 3.0
# include/uapi/linux/fcntl.h: the memory may grow and never shrink under a reader that looks at it.
_F_ADD_SEALS, _F_SEAL_SHRINK = 1033, 2


@dataclass(frozen=True)
class CaptureOptions:
    """How a source is watched.

    Attributes:
        lock: Whether the processes of the source lock themselves in.
        patient: Whether a camera is tried for good, also one that never delivered.
        limits_s: Times that are not the defaults, by name.
    """

    lock: bool = True
    patient: bool = False
    say: Callable[[str], None] = field(default=lambda _line: None)
    events: EventBus = field(default_factory=EventBus)
    limits_s: dict[str, float] = field(default_factory=dict)


class SupervisorProcess:
    """Starts the supervisor: an :class:`edgepose.device.capture.supervised.supervised_source.CaptureLink`."""

    def __init__(self, address: SourceAddress, options: CaptureOptions) -> None:
        self._name = address.shown
        memories = (shared_memory(), shared_memory())
        messages, messages_end = os.pipe()
        requests_end, self._requests = os.pipe()
        os.set_blocking(self._requests, False)
        self.messages = RecordReader(messages, MESSAGE_BYTES)
        self.pictures = (ReadImages(memories[0]), ReadImages(memories[1]))
        self._own = [messages, self._requests, *memories]
        task = CaptureTask(
            kind=address.kind,
            # The supervisor's working folder is another one.
            location=os.path.abspath(address.location) if address.kind == "path" else address.reveal(),  # noqa: PTH100
            messages=messages_end,
            requests=requests_end,
            memories=memories,
            lock=options.lock,
            patient=options.patient,
            limits_s=tuple(options.limits_s.items()),
        )
        try:
            self._process = _started(task)
        finally:
            os.close(messages_end)
            os.close(requests_end)

    @property
    def supervisor_pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, request: bytes) -> None:
        """Sends a request."""
        # While a camera is lost no one reads them, and they are void afterwards.
        if self._own:
            with suppress(BlockingIOError):
                write_record(self._requests, request)

    def lost(self, *, silent: bool) -> DeviceError | None:
        """It cannot be started again: this process may be locked in."""
        who = f"The process that watches over {self._name}"
        if silent:
            return DeviceError(f"{who} does not answer.")
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return DeviceError(f"{who} {how}.")

    def close(self) -> None:
        """Ends the supervisor and its capture process."""
        if not self._own:
            return
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            # Its capture process dies with it.
            self._process.kill()
            self._process.wait()
        own, self._own = self._own, []
        for descriptor in own:
            os.close(descriptor)
        for images in self.pictures:
            images.forget()


def shared_memory() -> int:
    """Memory that a process and its children share: it may grow and never shrinks under who reads it."""
    descriptor = os.memfd_create("edgepose-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK)
    return descriptor


def _started(task: CaptureTask) -> subprocess.Popen[bytes]:
    # One thread of linear algebra: a fork keeps only one anyway.
    process = start_python(
        "edgepose.device.capture.supervised.supervisor",
        changes={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(task.messages, task.requests, *task.memories),
        start_new_session=True,
    )
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(to_json(task).encode() + b"\n")
            process.stdin.flush()
    return process


_LOOK_EVERY_S = 0.25
_SAY_ALIVE_EVERY_S = 5.0
# What needs sockets or processes of its own before it is open.
_UNLOCKED_SUPERVISORS = ("rtsp", "csi", "picamera2")


class CaptureSupervisor:
    """Watches over one capture process at a time.

    Args:
        life: Descriptor of a pipe; when its other end is closed, the reader is gone.
        first: Number of the first capture process.
    """

    def __init__(self, task: CaptureTask, life: int = 0, first: int = 1) -> None:
        self._task = task
        self._poll = select.poll()
        # Not what it says, only its end.
        self._poll.register(life, 0)
        self._name = task.address.shown
        self._generation = first - 1
        self._capture_pid = 0
        self._reports: RecordReader | None = None
        self._reports_descriptor = -1
        self._problem: CaptureProblem | None = None
        self._lost_said = False
        self._frozen_in: int | None = None
        self._said_s = 0.0
        self._supervision = Supervision(task.limits(), time.monotonic())

    def run(self) -> None:
        """Runs until the reader is gone, the file has ended, or the camera is given up."""
        self._start()
        try:
            while self._look():
                pass
        finally:
            self._kill()

    def _look(self) -> bool:
        ready = [descriptor for descriptor, _ in self._poll.poll(_LOOK_EVERY_S * 1e3)]
        reports = self._reports
        if any(descriptor != self._reports_descriptor for descriptor in ready):
            return False
        if reports is not None and ready:
            self._take_reports(reports)
        self._say_alive()
        return self._decide() if self._task.live else self._capture_pid != 0

    def _say_alive(self) -> None:
        now_s = time.monotonic()
        if now_s - self._said_s > _SAY_ALIVE_EVERY_S:
            self._said_s = now_s
            self._say(MessageKind.WAITING)

    def _decide(self) -> bool:
        now_s = time.monotonic()
        decision = self._supervision.decide(now_s)
        if decision == "kill":
            self._problem = self._problem or CaptureProblem(
                family="device", message=f"{self._name} delivers no frames."
            )
            self._kill()
        elif decision == "start":
            self._supervision.started(now_s)
            self._start()
        elif decision == "give_up":
            problem = self._problem or self._unexplained("ended")
            self._say(MessageKind.FAILED, problem.packed())
            return False
        return True

    def _take_reports(self, reports: RecordReader) -> None:
        # All that is there first: what a report leads to may close the pipe.
        for record in list(reports.records()):
            message = CaptureMessage.unpacked(record)
            if message.kind == MessageKind.FRAME:
                self._alive()
            elif message.kind == MessageKind.FAILED:
                self._problem = problem_from(message.text)
            elif message.kind == MessageKind.EVENT:
                self._frozen()
        if reports.ended:
            self._reap()

    def _alive(self) -> None:
        outage_s = self._supervision.alive(time.monotonic())
        self._problem = None
        if outage_s is not None and self._lost_said:
            self._lost_said = False
            reason = f"{self._name} delivers frames again, after {outage_s:.1f} s."
            self._event("recovered", reason, round(outage_s, 1))

    def _frozen(self) -> None:
        """Opened again once; a camera that still shows the same then shows a world that stands still."""
        limit_s = self._task.limits().frozen_s
        reason = f"{self._name} has shown the very same picture for {limit_s:.0f} s."
        self._event("frozen", reason)
        again, self._frozen_in = self._frozen_in == self._generation - 1, self._generation
        if not again:
            self._problem = CaptureProblem(family="device", message=reason)
            self._kill()

    def _start(self) -> None:
        self._generation += 1
        reading, writing = os.pipe()
        task = self._task
        memory = task.memories[self._generation % 2]
        pipes = CapturePipes(self._generation, task.messages, task.requests, memory, writing, os.getpid())
        # Nothing runs beside this thread, so a fork is whole; an exec would cost the start of an interpreter.
        self._capture_pid = os.fork()
        if self._capture_pid == 0:
            os.close(reading)
            os._exit(run_capture(task, pipes))
        os.close(writing)
        self._reports, self._reports_descriptor = RecordReader(reading, MESSAGE_BYTES), reading
        self._poll.register(reading, select.POLLIN)

    def _kill(self) -> None:
        if self._capture_pid:
            os.kill(self._capture_pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        """The process is gone or about to be; nothing is started before it is."""
        if not self._capture_pid:
            return
        status = os.waitpid(self._capture_pid, 0)[1]
        self._capture_pid = 0
        self._poll.unregister(self._reports_descriptor)
        os.close(self._reports_descriptor)
        self._reports = None
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if not self._task.live:
            if code < 0 or code == 1:
                self._say(MessageKind.FAILED, self._unexplained(how).packed())
            return
        self._problem = self._problem or self._unexplained(how)
        self._supervision.ended(time.monotonic())
        if (self._supervision.delivered or self._task.patient) and not self._lost_said:
            self._lost_said = True
            self._event("lost", f"{self._problem.message} It is being opened again.")

    def _unexplained(self, how: str) -> CaptureProblem:
        return CaptureProblem(family="device", message=f"The process that reads {self._name} {how}.")

    def _event(self, kind: CaptureEventKind, reason: str, outage_s: float | None = None) -> None:
        event = CaptureEvent(kind=kind, reason=reason[:400], outage_s=outage_s)
        self._say(MessageKind.EVENT, to_json(event).encode())

    def _say(self, kind: MessageKind, text: bytes = b"") -> None:
        write_record(self._task.messages, CaptureMessage(kind, self._generation, text=text).packed())


def main() -> int:
    """Reads the task and carries on until its reader is gone."""
    # The end of the reader ends this; a signal to the whole group must not come before that.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    task = from_json(_first_line(), CaptureTask, "task of a capture process", DeviceError)
    try:
        if task.lock and task.kind not in _UNLOCKED_SUPERVISORS:
            from edgepose.device.sandbox.lock import LockScope, lock_process

            lock_process(scope=LockScope.SUPERVISOR)
        CaptureSupervisor(task).run()
    except EdgeposeError as problem:
        text = CaptureProblem.of(problem).packed()
        with suppress(OSError):
            write_record(task.messages, CaptureMessage(MessageKind.FAILED, 0, text=text).packed())
        return problem.exit_code
    return 0


def _first_line() -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            sys.exit(0)
        line += piece
    return line


if __name__ == "__main__":
    sys.exit(main())
