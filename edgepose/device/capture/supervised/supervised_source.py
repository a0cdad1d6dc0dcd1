"""A source whose frames come from a process of its own."""

from __future__ import annotations

import time
from typing import Protocol

from edgepose.device.capture.frame_source import Frame, SourceInfo
from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.messages import (
    CaptureMessage,
    CaptureRequest,
    MessageKind,
    RecordReader,
    RequestKind,
    SourceFacts,
    problem_from,
)
from edgepose.device.capture.supervised.shared_images import ReadImages, SharedFolder
from edgepose.device.capture.supervised.supervisor import CaptureOptions, SupervisorProcess
from edgepose.device.events import CaptureEvent
from edgepose.errors import DeviceError
from edgepose.records.record import from_json


class CaptureLink(Protocol):
    """Two pipes and two shared memories, used in turns by one capture process after the other."""

    @property
    def messages(self) -> RecordReader:
        """What they say."""
        ...

    @property
    def pictures(self) -> tuple[ReadImages, ReadImages]:
        """Where their images lie."""
        ...

    @property
    def supervisor_pid(self) -> int:
        """The process that watches over the source; 0 where it belongs to another unit."""
        ...

    def send(self, request: bytes) -> None:
        """Sends a request; where no one is there, no one needs it."""
        ...

    def lost(self, *, silent: bool) -> DeviceError | None:
        """What it means that nothing is heard any more.

        Args:
            silent: The other side is there and says nothing.

        Returns:
            The end of the source, or None: it may come back, and everything begins anew then.
        """
        ...

    def close(self) -> None:
        """Ends it; closing twice is harmless."""
        ...


# A file is read ahead; of a camera nothing is asked for before it is wanted, so that it is new.
_AHEAD = 2
# A supervisor says something at least every five seconds; decoding one image takes less than this, too.
_SILENCE_LIMIT_S = 40.0


class SupervisedSource:
    """Starts the supervisor of a source at once; ``opened`` waits for what comes of it."""

    def __init__(self, address: SourceAddress, options: CaptureOptions | None = None) -> None:
        self._address, self._options = address, options or CaptureOptions()
        self._live = address.kind != "path"
        # Who waits for good does not wait for the start.
        patient = address.kind == "shared" or (self._live and self._options.patient)
        self._info = SourceInfo(address.shown, live=True) if patient else None
        self._ended = False
        self._generation = self._wanted = self._index = self._dropped = 0
        self._fresh = True
        self._size_wh: tuple[int, int] | None = None
        self._events: list[CaptureEvent] = []
        self._heard_s = time.monotonic()
        self._link: CaptureLink = (
            SharedFolder(address) if address.kind == "shared" else SupervisorProcess(address, self._options)
        )

    def opened(self) -> SupervisedSource:
        """Waits until the source is open.

        Raises:
            ConfigError: The file or folder is missing, empty or damaged.
            DeviceError: The camera cannot be opened.
            MissingDependencyError: What opens it is not on this machine.
        """
        while self._info is None:
            self._next_message(1.0)
        return self

    @property
    def info(self) -> SourceInfo:
        """What is known before the first frame; waits until the source is open.

        Raises:
            EdgeposeError: As ``opened`` raises.
        """
        self.opened()
        if self._info is None:
            raise DeviceError(f"{self._address.shown} is not open.")
        return self._info

    @property
    def supervisor_pid(self) -> int:
        """The process that watches over the source; 0 where it belongs to another unit."""
        return self._link.supervisor_pid

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        return self._ended

    def read(self, wait_s: float) -> Frame | None:
        """The next frame of a file, the newest of a camera.

        Raises:
            ConfigError: A file is damaged.
            DeviceError: The camera failed for good, or its process cannot be kept alive.
        """
        limit_s = time.monotonic() + wait_s
        while not self._ended:
            self._want()
            message = self._next_message(limit_s - time.monotonic() if self._live else 1.0)
            if message is not None:
                return self._frame(message)
            if self._live and time.monotonic() >= limit_s:
                return None
        return None

    def events(self) -> tuple[CaptureEvent, ...]:
        """What happened since this was asked last."""
        taken, self._events = tuple(self._events), []
        return taken

    def close(self) -> None:
        """Ends the processes; closing twice is harmless."""
        self._ended = True
        self._link.close()

    def _want(self) -> None:
        """Asks for frames, unless someone still looks at images where the new process would write."""
        images = self._memory
        if self._generation == 0 or (self._wanted == 0 and self._fresh and images.held):
            return
        self._fresh = False
        while self._wanted < (1 if self._live else _AHEAD):
            self._request(RequestKind.WANT)
            self._wanted += 1

    @property
    def _memory(self) -> ReadImages:
        return self._link.pictures[self._generation % 2]

    def _next_message(self, wait_s: float) -> CaptureMessage | None:
        """The next frame's message; everything else is taken note of."""
        limit_s = time.monotonic() + wait_s
        while True:
            record = self._link.messages.next()
            if record is None:
                self._check_heard()
                if not self._link.messages.wait(limit_s - time.monotonic()):
                    return None
                continue
            self._heard_s = time.monotonic()
            message = CaptureMessage.unpacked(record)
            if message.kind == MessageKind.FRAME:
                if message.generation == self._generation:
                    return message
            elif self._noted(message):
                return None

    def _noted(self, message: CaptureMessage) -> bool:
        """Takes note of what is no frame; true where the caller has to look again."""
        if message.kind == MessageKind.OPENED:
            self._generation, self._wanted, self._fresh = message.generation, 0, True
            facts = from_json(message.text, SourceFacts, "facts of a source", DeviceError)
            self._info = SourceInfo(self._address.shown, self._live, facts.fps, facts.frame_count)
            return True
        if message.kind == MessageKind.FAILED:
            self._ended = True
            raise problem_from(message.text).error()
        if message.kind == MessageKind.ENDED:
            self._ended = True
            return True
        if message.kind == MessageKind.EVENT:
            self._happened(from_json(message.text, CaptureEvent, "event of a camera", DeviceError))
        return False

    def _happened(self, event: CaptureEvent) -> None:
        self._events.append(event)
        self._options.say(event.reason)
        self._options.events.publish(event.as_event())

    def _check_heard(self) -> None:
        silent = time.monotonic() - self._heard_s > _SILENCE_LIMIT_S
        if not (self._link.messages.ended or silent):
            return
        self._heard_s = time.monotonic()
        problem = self._link.lost(silent=silent)
        if problem is not None:
            self._ended = True
            raise problem
        if self._generation:
            reason = f"The camera's unit at {self._address.shown} is gone; it is waited for."
            self._happened(CaptureEvent(kind="lost", reason=reason))
        self._generation = self._wanted = 0

    def _frame(self, message: CaptureMessage) -> Frame:
        self._wanted -= 1
        width, height = size_wh = (message.width_px, message.height_px)
        if self._live and self._size_wh is not None and self._size_wh != size_wh:
            before = "x".join(str(side) for side in self._size_wh)
            reason = f"{self._address.shown} changed its size from {before} to {width}x{height}."
            self._happened(CaptureEvent(kind="size_changed", reason=reason))
        self._size_wh = size_wh
        release = CaptureRequest(RequestKind.RELEASE, message.generation, message.slot).packed()
        image = self._memory.picture(message.offset, (height, width, 3), lambda: self._send(release))
        frame = Frame(image, message.timestamp_ns, self._index, message.dropped, events=self.events())
        self._index += 1
        return frame

    def _request(self, kind: RequestKind) -> None:
        self._send(CaptureRequest(kind, self._generation).packed())

    def _send(self, request: bytes) -> None:
        self._link.send(request)
