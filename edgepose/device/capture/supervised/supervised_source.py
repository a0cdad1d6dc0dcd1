"""A source whose frames come from a process of its own."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from edgepose.device.capture.capture_event import CaptureEvent
from edgepose.device.capture.frame import Frame
from edgepose.device.capture.frame_source import SourceInfo
from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.messages import (
    MESSAGE_BYTES,
    CaptureMessage,
    CaptureRequest,
    MessageKind,
    RequestKind,
)
from edgepose.device.capture.supervised.order import CaptureOrder, SourceFacts, problem_from
from edgepose.device.capture.supervised.pipe_end import RecordReader, write_record
from edgepose.device.capture.supervised.shared_pictures import ReadPictures
from edgepose.errors import DeviceError
from edgepose.spec.records import from_json, to_json

# A file is read ahead; of a camera nothing is asked for before it is wanted, so that it is new.
_AHEAD = 2
# A keeper says something at least every five seconds; decoding one picture takes less than this, too.
_SILENCE_LIMIT_S = 40.0
_END_LIMIT_S = 3.0
# include/uapi/linux/fcntl.h: the memory may grow and never shrink under a reader that looks at it.
_F_ADD_SEALS, _F_SEAL_SHRINK = 1033, 2


@dataclass(frozen=True)
class CaptureOptions:
    """How a source is watched.

    Attributes:
        lock: Whether the processes of the source lock themselves in.
        patient: Whether a camera is tried for good, also one that never delivered.
        say: Takes a line for people when something happens to the camera.
        limits_s: Times that are not the defaults, by name.
    """

    lock: bool = True
    patient: bool = False
    say: Callable[[str], None] = field(default=lambda _line: None)
    limits_s: dict[str, float] = field(default_factory=dict)


class SupervisedSource:
    """Starts the keeper of a source at once; ``opened`` waits for what comes of it.

    Args:
        address: What to open.
        options: How it is watched.
    """

    def __init__(self, address: SourceAddress, options: CaptureOptions | None = None) -> None:
        self._address, self._options = address, options or CaptureOptions()
        self._live = address.kind != "path"
        # Who waits for good does not wait for the start.
        patient = self._live and self._options.patient
        self._info = SourceInfo(address.shown, live=True) if patient else None
        self._ended = False
        self._incarnation = self._wanted = self._index = self._dropped = 0
        self._fresh = True
        self._size_wh: tuple[int, int] | None = None
        self._events: list[CaptureEvent] = []
        self._heard_s = time.monotonic()
        memories = tuple(shared_memory() for _ in range(2))
        messages, messages_end = os.pipe()
        requests_end, self._requests = os.pipe()
        os.set_blocking(self._requests, False)
        self._messages = RecordReader(messages, MESSAGE_BYTES)
        self._pictures = tuple(ReadPictures(memory) for memory in memories)
        self._own = [messages, self._requests, *memories]
        try:
            self._keeper = self._started((messages_end, requests_end, *memories))
        finally:
            os.close(messages_end)
            os.close(requests_end)

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
    def keeper_pid(self) -> int:
        """The process that watches over the source."""
        return self._keeper.pid

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
        if not self._own:
            return
        self._ended = True
        if self._keeper.stdin is not None:
            with suppress(OSError):
                self._keeper.stdin.close()
        try:
            self._keeper.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            # Its child dies with it.
            self._keeper.kill()
            self._keeper.wait()
        own, self._own = self._own, []
        for descriptor in own:
            os.close(descriptor)

    def _started(self, descriptors: tuple[int, ...]) -> subprocess.Popen[bytes]:
        messages, requests, first, second = descriptors
        order = CaptureOrder(
            kind=self._address.kind,
            location=self._address.location,
            messages=messages,
            requests=requests,
            memories=(first, second),
            lock=self._options.lock,
            patient=self._options.patient,
            limits_s=tuple(self._options.limits_s.items()),
        )
        # -s: no packages of the user. One thread of linear algebra: forked processes keep only one anyway.
        keeper = subprocess.Popen(
            [sys.executable, "-s", "-m", "edgepose.device.capture.supervised.keeper"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            start_new_session=True,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        if keeper.stdin is not None:
            with suppress(BrokenPipeError):
                keeper.stdin.write(_line(order))
                keeper.stdin.flush()
        return keeper

    def _want(self) -> None:
        """Asks for frames, unless somebody still looks at pictures where the new process would write."""
        pictures = self._memory
        if self._incarnation == 0 or (self._wanted == 0 and self._fresh and pictures.held):
            return
        self._fresh = False
        while self._wanted < (1 if self._live else _AHEAD):
            self._request(RequestKind.WANT)
            self._wanted += 1

    @property
    def _memory(self) -> ReadPictures:
        return self._pictures[self._incarnation % 2]

    def _next_message(self, wait_s: float) -> CaptureMessage | None:
        """The next frame's message; everything else is taken note of."""
        limit_s = time.monotonic() + wait_s
        while True:
            record = self._messages.next()
            if record is None:
                self._check_heard()
                if not self._messages.wait(limit_s - time.monotonic()):
                    return None
                continue
            self._heard_s = time.monotonic()
            message = CaptureMessage.unpacked(record)
            if message.kind == MessageKind.FRAME:
                if message.incarnation == self._incarnation:
                    return message
            elif self._noted(message):
                return None

    def _noted(self, message: CaptureMessage) -> bool:
        """Takes note of what is no frame; true where the caller has to look again."""
        if message.kind == MessageKind.OPENED:
            self._incarnation, self._wanted, self._fresh = message.incarnation, 0, True
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
        self._options.say(event.describe())

    def _check_heard(self) -> None:
        if self._messages.ended:
            self._ended = True
            code = self._keeper.wait()
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise DeviceError(f"The process that watches over {self._address.shown} {how}.")
        if time.monotonic() - self._heard_s > _SILENCE_LIMIT_S:
            self._ended = True
            raise DeviceError(
                f"The process that watches over {self._address.shown} has said nothing for "
                f"{_SILENCE_LIMIT_S:.0f} s."
            )

    def _frame(self, message: CaptureMessage) -> Frame:
        self._wanted -= 1
        width, height = size_wh = (message.width_px, message.height_px)
        if self._live and self._size_wh is not None and self._size_wh != size_wh:
            before = "x".join(str(side) for side in self._size_wh)
            reason = f"{self._address.shown} changed its size from {before} to {width}x{height}."
            self._happened(CaptureEvent(kind="size_changed", reason=reason))
        self._size_wh = size_wh
        release = CaptureRequest(RequestKind.RELEASE, message.incarnation, message.slot).packed()
        picture = self._memory.picture(message.offset, (height, width, 3), lambda: self._send(release))
        frame = Frame(
            picture, message.timestamp_ns, self._index, message.dropped, lasting=True, events=self.events()
        )
        self._index += 1
        return frame

    def _request(self, kind: RequestKind) -> None:
        self._send(CaptureRequest(kind, self._incarnation).packed())

    def _send(self, request: bytes) -> None:
        # After the end there is nobody to tell; while a camera is lost its requests are void.
        if self._own:
            with suppress(BlockingIOError):
                write_record(self._requests, request)


def _line(order: CaptureOrder) -> bytes:
    return to_json(order).encode() + b"\n"


def shared_memory() -> int:
    """Memory that a process and its children share: it may grow and never shrinks under who reads it."""
    descriptor = os.memfd_create("edgepose-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK)
    return descriptor
