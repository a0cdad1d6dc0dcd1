"""Poses as JSON lines for whoever connects to a Unix socket: the lines of ``--output``, as they come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.device.output.fed_process import FedProcess
from edgepose.device.output.jsonl_sink import pose_line
from edgepose.device.output.pose_sink import FrameResult

_MODULE = "edgepose.device.output.socket_server"


class SocketSink:
    """Feeds a process that listens; a reader that is too slow misses lines and holds nobody up.

    Args:
        path: The socket, which only this user may connect to.
        say: Takes a line about who was served, at the end.

    Raises:
        ConfigError: Something else is there, or somebody listens there already.
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
            self._process.send(pose_line(result))

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
