"""The keeper of a camera: starts its capture process, kills it when it hangs, starts it again.

Run as ``python -m``; a :class:`CaptureOrder` comes as one line on standard input, whose end ends everything.
The reader is locked in and can start no process; this one can, and has nothing to do with pictures: it maps
no shared memory, imports no OpenCV, and for a camera of this machine it has no sockets either.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

from edgepose.device.capture.capture_event import CaptureEvent, CaptureEventKind
from edgepose.device.capture.supervised.child import run_child
from edgepose.device.capture.supervised.ends import ChildEnds
from edgepose.device.capture.supervised.messages import MESSAGE_BYTES, CaptureMessage, MessageKind
from edgepose.device.capture.supervised.order import CaptureOrder, CaptureProblem, problem_from
from edgepose.device.capture.supervised.pipe_end import RecordReader, write_record
from edgepose.device.capture.supervised.supervision import Supervision
from edgepose.errors import DeviceError, EdgeposeError
from edgepose.spec.records import from_json, to_json

_LOOK_EVERY_S = 0.25
_SAY_ALIVE_EVERY_S = 5.0
# What needs sockets or processes of its own before it is open.
_UNLOCKED_KEEPERS = ("rtsp", "csi", "picamera2")


class Keeper:
    """Watches over one capture process at a time.

    Args:
        order: What to open.
        life: Descriptor of a pipe; when its other end is closed, the reader is gone.
        first: Number of the first capture process.
    """

    def __init__(self, order: CaptureOrder, life: int = 0, first: int = 1) -> None:
        self._order = order
        self._poll = select.poll()
        # Not what it says, only its end.
        self._poll.register(life, 0)
        self._name = order.address.shown
        self._incarnation = first - 1
        self._child = 0
        self._reports: RecordReader | None = None
        self._reports_descriptor = -1
        self._problem: CaptureProblem | None = None
        self._lost_said = False
        self._frozen_in: int | None = None
        self._said_s = 0.0
        self._supervision = Supervision(order.limits(), time.monotonic())

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
        return self._decide() if self._order.live else self._child != 0

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
        limit_s = self._order.limits().frozen_s
        reason = f"{self._name} has shown the very same picture for {limit_s:.0f} s."
        self._event("frozen", reason)
        again, self._frozen_in = self._frozen_in == self._incarnation - 1, self._incarnation
        if not again:
            self._problem = CaptureProblem(family="device", message=reason)
            self._kill()

    def _start(self) -> None:
        self._incarnation += 1
        reading, writing = os.pipe()
        order = self._order
        memory = order.memories[self._incarnation % 2]
        ends = ChildEnds(self._incarnation, order.messages, order.requests, memory, writing, os.getpid())
        # Nothing runs beside this thread, so a fork is whole; an exec would cost the start of an interpreter.
        self._child = os.fork()
        if self._child == 0:
            os.close(reading)
            os._exit(run_child(order, ends))
        os.close(writing)
        self._reports, self._reports_descriptor = RecordReader(reading, MESSAGE_BYTES), reading
        self._poll.register(reading, select.POLLIN)

    def _kill(self) -> None:
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        """The process is gone or about to be; nothing is started before it is."""
        if not self._child:
            return
        status = os.waitpid(self._child, 0)[1]
        self._child = 0
        self._poll.unregister(self._reports_descriptor)
        os.close(self._reports_descriptor)
        self._reports = None
        code = os.waitstatus_to_exitcode(status)
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if not self._order.live:
            if code < 0 or code == 1:
                self._say(MessageKind.FAILED, self._unexplained(how).packed())
            return
        self._problem = self._problem or self._unexplained(how)
        self._supervision.ended(time.monotonic())
        if (self._supervision.delivered or self._order.patient) and not self._lost_said:
            self._lost_said = True
            self._event("lost", f"{self._problem.message} It is being opened again.")

    def _unexplained(self, how: str) -> CaptureProblem:
        return CaptureProblem(family="device", message=f"The process that reads {self._name} {how}.")

    def _event(self, kind: CaptureEventKind, reason: str, outage_s: float | None = None) -> None:
        event = CaptureEvent(kind=kind, reason=reason[:400], outage_s=outage_s)
        self._say(MessageKind.EVENT, to_json(event).encode())

    def _say(self, kind: MessageKind, text: bytes = b"") -> None:
        write_record(self._order.messages, CaptureMessage(kind, self._incarnation, text=text).packed())


def main() -> int:
    """Reads the order and keeps it."""
    # The end of the reader ends this; a signal to the whole group must not come before that.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = from_json(_first_line(), CaptureOrder, "order of a capture process", DeviceError)
    try:
        if order.lock and order.kind not in _UNLOCKED_KEEPERS:
            from edgepose.device.sandbox.lock import LockScope, lock_process

            lock_process(scope=LockScope.KEEPER)
        Keeper(order).run()
    except EdgeposeError as problem:
        text = CaptureProblem.of(problem).packed()
        with suppress(OSError):
            write_record(order.messages, CaptureMessage(MessageKind.FAILED, 0, text=text).packed())
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
