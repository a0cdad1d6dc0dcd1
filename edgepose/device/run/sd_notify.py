"""Tells systemd that poses come: ready after the first one, alive as long as they go on (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

from edgepose.device.output.pose_sink import FrameResult

# systemd wants a sign at least every half of WatchdogSec; a third leaves room for one long frame.
_SIGNS_PER_PERIOD = 3
STEADY_S = 60.0
ABSENT_S = 30.0
_PATIENCE_US = 120_000_000


class SystemdNotifier:
    """A sink that keeps nothing of a frame and only says that it came.

    The socket is connected when this is made, before anything locks the process; afterwards only ``write`` is
    used on it.

    Args:
        environment: Of the process; ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC`` are systemd's.
        steady: Called once after ``STEADY_S`` of frames.
        clock_ns: A monotonic clock.
        absent: Called once after ``ABSENT_S`` in which no camera has delivered anything.
    """

    def __init__(
        self,
        environment: Mapping[str, str] = os.environ,
        steady: Callable[[], None] = lambda: None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        absent: Callable[[], None] = lambda: None,
    ) -> None:
        self._socket = _connected(environment.get("NOTIFY_SOCKET", ""))
        self._every_ns = int(environment.get("WATCHDOG_USEC", "0") or 0) * 1000 // _SIGNS_PER_PERIOD
        self._steady, self._absent, self._clock_ns = steady, absent, clock_ns
        self._first_ns: int | None = None
        self._sign_ns = self._frame_ns = self._begun_ns = clock_ns()
        self._told_steady = False
        self._waited = self._told_absent = False

    @property
    def descriptor(self) -> int | None:
        """Of the connected socket; None without one."""
        return None if self._socket is None else self._socket.fileno()

    def write(self, result: FrameResult) -> None:
        """Takes note of a frame."""
        del result
        now_ns = self._frame_ns = self._clock_ns()
        if self._first_ns is None:
            self._first_ns = self._sign_ns = now_ns
            self._say("READY=1\nSTATUS=Poses are being estimated.")
        if self._every_ns and now_ns - self._sign_ns >= self._every_ns:
            self._sign_ns = now_ns
            self._say("WATCHDOG=1\nSTATUS=Poses are being estimated." if self._waited else "WATCHDOG=1")
            self._waited = False
        if not self._told_steady and now_ns - self._first_ns >= STEADY_S * 1e9:
            self._told_steady = True
            self._steady()

    def waiting(self) -> None:
        """Takes note that the loop goes round, with or without a frame: a camera may be gone."""
        now_ns = self._clock_ns()
        if not self._every_ns or now_ns - max(self._sign_ns, self._frame_ns) < self._every_ns:
            return
        self._sign_ns = now_ns
        # Ready is who has seen a pose; until then systemd is asked for patience.
        sign = "WATCHDOG=1" if self._first_ns is not None else f"EXTEND_TIMEOUT_USEC={_PATIENCE_US}"
        self._say(f"{sign}\nSTATUS=Waiting for the camera.")
        self._waited = True
        if self._first_ns is None and not self._told_absent and now_ns - self._begun_ns >= ABSENT_S * 1e9:
            self._told_absent = True
            self._absent()

    def close(self, *, complete: bool) -> None:
        """Says that the service ends; closing twice is harmless."""
        del complete
        self._say("STOPPING=1")
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, text: str) -> None:
        if self._socket is None:
            return
        # systemd may be busy or gone; poses matter more than the sign, and the watchdog decides.
        with suppress(OSError):
            os.write(self._socket.fileno(), text.encode())


def _connected(address: str) -> socket.socket | None:
    """The socket of sd_notify; ``@`` stands for the abstract namespace."""
    if not address.startswith(("/", "@")):
        return None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        connection.connect("\0" + address[1:] if address[0] == "@" else address)
    except OSError:
        connection.close()
        return None
    connection.settimeout(0)
    return connection
