"""Outputs in processes of their own: poses over a Unix socket, and the live page.

Each is fed lines through a pipe, and a run never waits for it. It is started before the run is locked in.
What it gets is what is written here, line by line: it has no memory of the run, no descriptor but the pipe,
and it may use sockets, which the run may not.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgepose.device.output.line_splitter import EVENT, PAGE
from edgepose.device.output.pose_sink import FrameResult
from edgepose.errors import ConfigError, DeviceError
from edgepose.pose.skeletons import Skeleton
from edgepose.records.record import Record, from_json
from edgepose.records.telemetry_record import RuntimeEvent
from edgepose.sandbox.python_child import start_python

START_LIMIT_S = 20.0
END_LIMIT_S = 5.0
# include/uapi/linux/fcntl.h; Linux allows everybody one MiB (pipe(7)).
_F_SETPIPE_SZ = 1031
_PIPE_BYTES = 1 << 20


class Started(Record, frozen=True, kw_only=True):
    """What the process says once it can take lines, or cannot."""

    place: str = ""
    problem: str = ""
    hint: str = ""


class Ended(Record, frozen=True, kw_only=True):
    """What the process says at its end."""

    readers: int = 0
    dropped: int = 0


class FedProcess:
    """Starts a module in a Python of its own and waits until it is ready.

    Args:
        module: Reads lines from standard input until they end; says :class:`Started` and :class:`Ended` on
            its standard output.
        arguments: Its arguments; paths are absolute.

    Raises:
        ConfigError: It says that it cannot start.
        DeviceError: It says nothing.
    """

    def __init__(self, module: str, arguments: Sequence[str]) -> None:
        # A new session: Ctrl-C ends the run, whose end ends this process.
        self._process = start_python(
            module, arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        self.dropped = 0
        self._rest = b""
        self._broken = False
        self._sending = threading.Lock()
        self._said = b""
        self._input = _descriptor(self._process.stdin)
        self._output = _descriptor(self._process.stdout)
        with suppress(OSError):
            fcntl.fcntl(self._input, _F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_blocking(self._input, False)
        try:
            self.place = self._started(module).place
        except BaseException:
            self.close()
            raise

    def send(self, line: bytes) -> bool:
        """Writes a line that ends with a newline; where there is no room drops it whole and returns false."""
        # Frames come from the thread that writes, events from any.
        with self._sending:
            self._write(b"")
            if self._rest or self._broken:
                self.dropped += 1
                return False
            self._write(line)
            if self._rest == line:
                self._rest = b""
                self.dropped += 1
                return False
            return not self._broken

    def close(self) -> Ended | None:
        """Ends the lines and waits; returns what the process said at its end. Closing twice is harmless."""
        if self._process.poll() is None:
            self._finish_line()
        for stream in (self._process.stdin,):
            with suppress(OSError):
                if stream is not None:
                    stream.close()
        ended = self._ended()
        if self._process.stdout is not None:
            self._process.stdout.close()
        try:
            self._process.wait(END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._broken = True
        return ended

    def _write(self, line: bytes) -> None:
        """Writes what the pipe has room for and keeps the rest of the line."""
        waiting = self._rest + line
        try:
            while waiting:
                waiting = waiting[os.write(self._input, waiting) :]
        except BlockingIOError:
            pass
        except OSError as problem:
            if problem.errno not in (errno.EPIPE, errno.EBADF):
                raise
            # The process has ended; the run goes on without it.
            waiting, self._broken = b"", True
        self._rest = waiting

    def _finish_line(self) -> None:
        limit = time.monotonic() + END_LIMIT_S
        while self._rest and not self._broken and time.monotonic() < limit:
            select.select([], [self._input], [], 0.1)
            self._write(b"")

    def _started(self, module: str) -> Started:
        line = self._next_line(START_LIMIT_S)
        if line is None:
            raise DeviceError(f"{module} did not start: exit code {self._process.poll()}.")
        started = from_json(line, Started, module, DeviceError)
        if started.problem:
            raise ConfigError(started.problem, started.hint)
        return started

    def _ended(self) -> Ended | None:
        if self._process.stdout is None or self._process.stdout.closed:
            return None
        line = self._next_line(END_LIMIT_S)
        return None if line is None else from_json(line, Ended, "end of a process", DeviceError)

    def _next_line(self, limit_s: float) -> bytes | None:
        limit = time.monotonic() + limit_s
        while b"\n" not in self._said:
            left = limit - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                return None
            piece = os.read(self._output, 1 << 16)
            if not piece:
                return None
            self._said += piece
        line, _, self._said = self._said.partition(b"\n")
        return line


def _descriptor(stream: Any) -> int:
    number: int = stream.fileno()
    return number


_MODULE = "edgepose.device.output.socket_server"


class SocketSink:
    """Feeds a process that listens; a reader that is too slow misses lines and holds no one up.

    Args:
        path: The socket, which only this user may connect to.

    Raises:
        ConfigError: Something else is there, or someone listens there already.
        DeviceError: The process does not start.
    """

    def __init__(self, path: Path, say: Callable[[str], None]) -> None:
        self._say = say
        self._path = path
        self._process: FedProcess | None = FedProcess(_MODULE, [str(path.absolute())])

    def write(self, result: FrameResult) -> None:
        """Passes a frame's line on.

        Raises:
            ModelError: A coordinate or score is NaN or infinite.
        """
        if self._process is not None:
            self._process.send(result.line)

    def close(self, *, complete: bool) -> None:  # noqa: ARG002 (every line is useful by itself)
        """Ends the stream of every reader and removes the socket; closing twice is harmless."""
        if self._process is None:
            return
        process, self._process = self._process, None
        ended = process.close()
        if ended is None:
            self._say(f"{self._path}: the process that served it had ended before the run.")
        elif ended.dropped or process.dropped:
            self._say(
                f"{self._path}: {ended.readers} readers; {ended.dropped} lines were dropped for those too "
                f"slow, {process.dropped} for all."
            )


DEFAULT_PORT = 8765
_LIVE_PAGE_SINK_MODULE = "edgepose.device.live_page.page_process"


class LivePageSink:
    """Feeds the process that serves the page.

    Args:
        port: On 127.0.0.1; 0 takes a free one.

    Raises:
        ConfigError: The port is taken.
        DeviceError: The process does not start.
    """

    def __init__(self, port: int, say: Callable[[str], None]) -> None:
        self._process: FedProcess | None = FedProcess(_LIVE_PAGE_SINK_MODULE, [str(port)])
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
        self._process.send(result.line)

    def note(self, event: RuntimeEvent) -> None:
        """Passes an event on, such as drift; from any thread."""
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
