"""A keeper in another unit, met in a folder: two named pipes a reader, and two files of pictures."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path

from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.messages import MESSAGE_BYTES
from edgepose.device.capture.supervised.pipe_end import RecordReader, write_record
from edgepose.device.capture.supervised.shared_pictures import ReadPictures
from edgepose.errors import DeviceError

MESSAGES, REQUESTS = "messages", "requests"
PICTURES = ("pictures0", "pictures1")
_TRY_EVERY_S = 0.5
# systemd makes the folder first and gives it to the user then.
_DENIED_LIMIT_S = 5.0


class SharedFolder:
    """Waits for a camera's unit, as often as that is started; see
    :class:`edgepose.device.capture.supervised.link.CaptureLink`.

    No socket is used, so a process that is locked in can meet it again.

    Args:
        address: ``shared://FOLDER``.
    """  # noqa: D205

    keeper_pid = 0

    def __init__(self, address: SourceAddress) -> None:
        self._folder, self._name = Path(address.location), address.shown
        self._own: list[int] = []
        self._requests = -1
        self._tried_s = 0.0
        self._denied_s: float | None = None
        self._closed = False
        self.messages: RecordReader = _Nothing()
        self.pictures = (ReadPictures(-1), ReadPictures(-1))
        self._meet()

    def send(self, request: bytes) -> None:
        """Sends a request; a camera that is gone needs none."""
        if self._own:
            with suppress(BlockingIOError):
                write_record(self._requests, request)

    def lost(self, *, silent: bool) -> DeviceError | None:
        """The camera's unit may be started again, so the end of it is none here."""
        del silent
        self._leave()
        # Whoever waits asks again and again.
        time.sleep(max(0.0, min(_TRY_EVERY_S, self._tried_s + _TRY_EVERY_S - time.monotonic())))
        try:
            self._meet()
        except DeviceError as problem:
            return problem
        return None

    def close(self) -> None:
        """Leaves the folder; the camera's unit then closes its camera."""
        self._closed = True
        self._leave()

    def _leave(self) -> None:
        own, self._own = self._own, []
        for descriptor in own:
            os.close(descriptor)
        self.messages = _Nothing()

    def _meet(self) -> None:
        self._tried_s = time.monotonic()
        own: list[int] = []
        try:
            # One reader at a time; the pipes are made anew for each, these files are not. Opened once more:
            # a picture that somebody still holds keeps what it was mapped by.
            own.append(os.open(self._folder / PICTURES[0], os.O_RDONLY | os.O_CLOEXEC))
            fcntl.flock(own[0], fcntl.LOCK_EX | fcntl.LOCK_NB)
            own += [os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC) for name in PICTURES]
            # No pipes: a reader before this one has just left, and the unit has not seen it yet.
            own.append(os.open(self._folder / MESSAGES, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            # Nobody there: ENXIO.
            own.append(os.open(self._folder / REQUESTS, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        except OSError as problem:
            for descriptor in own:
                os.close(descriptor)
            if self._is_yet_to_come(problem):
                return
            why = "another program reads it" if isinstance(problem, BlockingIOError) else problem.strerror
            raise DeviceError(f"Cannot read the camera at {self._name}: {why}.") from problem
        self._denied_s = None
        self._own, self._requests = own, own[4]
        self.messages = RecordReader(own[3], MESSAGE_BYTES)
        self.pictures = (ReadPictures(own[1]), ReadPictures(own[2]))

    def _is_yet_to_come(self, problem: OSError) -> bool:
        if problem.errno != errno.EACCES:
            self._denied_s = None
            return problem.errno in {errno.ENOENT, errno.ENXIO}
        self._denied_s = self._tried_s if self._denied_s is None else self._denied_s
        return self._tried_s - self._denied_s < _DENIED_LIMIT_S


class _Nothing(RecordReader):
    """A pipe that is not there yet: it has ended, and waiting for it takes time."""

    def __init__(self) -> None:
        self.ended = True

    def wait(self, limit_s: float) -> bool:
        time.sleep(min(max(limit_s, 0.0), _TRY_EVERY_S))
        return False

    def next(self) -> bytes | None:
        return None
