"""Proves on the spot that a locked process cannot send anything: one tries, and a listener counts."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from edgepose.device.sandbox.ways_out import SECRET
from edgepose.errors import DeviceError
from edgepose.sandbox.python_child import run_python
from edgepose.spec.records import Record

_TIMEOUT_S = 120
_ESCAPE = "edgepose.device.sandbox.escape_process"


class WayOut(Record, frozen=True, kw_only=True):
    """One way that was tried.

    Attributes:
        way: Its name.
        refused: Whether it was refused.
        how: The error, or how it got out.
    """

    way: str
    refused: bool
    how: str


class PrivacyReport(Record, frozen=True, kw_only=True):
    """``privacy-check --json``.

    Attributes:
        schema: ``edgepose.privacy_check/1``.
        sandbox: Whether the process was locked; without, it is the negative control.
        passed: Whether every way was refused and nothing arrived.
        arrived: How often the planted secret arrived at the listener.
        ways: A row a way.
    """

    schema: str
    sandbox: bool
    passed: bool
    arrived: int
    ways: tuple[WayOut, ...]


@dataclass
class _Listener:
    """TCP and UDP on one loopback port; counts the secret."""

    tcp: socket.socket
    udp: socket.socket
    arrived: list[bytes] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.tcp.getsockname()[1])

    def take_datagrams(self) -> None:
        with suppress(OSError):
            while True:
                self.arrived.append(self.udp.recv(4096))

    def take_connections(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self.tcp.accept()
                with connection:
                    connection.settimeout(5)
                    with suppress(OSError):
                        self.arrived.append(connection.recv(4096))


def check_privacy(*, sandbox: bool = True) -> PrivacyReport:
    """Tries every known way out of a process that is locked as the runtime is.

    Args:
        sandbox: False leaves the process unlocked: the negative control.

    Raises:
        DeviceError: The process could not be locked, or did not answer.
    """
    with _listening() as listener:
        rows = [*_tried(listener, sandbox=sandbox), _inherited_socket(listener, sandbox=sandbox)]
        # What was sent just now may still be on its way through the kernel's loopback.
        threading.Event().wait(0.3)
        arrived = sum(SECRET in piece for piece in listener.arrived)
    passed = sandbox and arrived == 0 and all(row.refused for row in rows)
    return PrivacyReport(
        schema="edgepose.privacy_check/1", sandbox=sandbox, passed=passed, arrived=arrived, ways=tuple(rows)
    )


def require_private(report: PrivacyReport) -> None:
    """Turns a way out into an error.

    Raises:
        DeviceError: There is one, or the check ran without the sandbox.
    """
    if report.passed:
        return
    open_ways = ", ".join(row.way for row in report.ways if not row.refused) or "none"
    control = "" if report.sandbox else "; the sandbox was off, as asked for"
    raise DeviceError(
        f"Frames could leave: {open_ways} of {len(report.ways)} ways are open, and the planted secret "
        f"arrived {report.arrived} times{control}.",
        "" if not report.sandbox else "Do not use this device for live pictures.",
    )


@contextmanager
def _listening() -> Iterator[_Listener]:
    with socket.socket() as tcp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        listener = _Listener(tcp, udp)
        threads = [
            threading.Thread(target=act, daemon=True)
            for act in (listener.take_connections, listener.take_datagrams)
        ]
        for thread in threads:
            thread.start()
        yield listener
        # Waiting calls end when their socket is shut down.
        for one in (tcp, udp):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _tried(listener: _Listener, *, sandbox: bool) -> list[WayOut]:
    ours, theirs = socket.socketpair()
    with ours, theirs, socket.create_connection(("127.0.0.1", listener.port)) as connection:
        socket.send_fds(ours, [b"take this"], [connection.fileno()])
        return _run(listener, theirs.fileno(), [] if sandbox else ["--without-sandbox"])


def _inherited_socket(listener: _Listener, *, sandbox: bool) -> WayOut:
    """A connected socket that the process is started with: the lock must find it."""
    with socket.create_connection(("127.0.0.1", listener.port)) as connection:
        if not sandbox:
            connection.sendall(SECRET)
            return WayOut(way="inherited_socket", refused=False, how="it was used")
        rows = _run(listener, connection.fileno(), ["--only-lock"], allow_failure=True)
    if rows and rows[0].way == "lock":
        return WayOut(way="inherited_socket", refused=True, how=rows[0].how)
    return WayOut(way="inherited_socket", refused=False, how="the process was locked with it open")


def _run(
    listener: _Listener, descriptor: int, options: list[str], *, allow_failure: bool = False
) -> list[WayOut]:
    target = ctypes.create_string_buffer(b"memory!!", 8)
    reader, writer = os.pipe()
    call = [
        *options,
        "--port",
        str(listener.port),
        "--channel",
        str(descriptor),
        "--checker",
        str(os.getpid()),
    ]
    call += ["--address", str(ctypes.addressof(target)), "--answers", str(writer)]
    with os.fdopen(reader, encoding="utf-8") as stream:
        try:
            done = run_python(_ESCAPE, call, pass_fds=(descriptor, writer), timeout_s=_TIMEOUT_S)
        except subprocess.TimeoutExpired as problem:
            raise DeviceError(f"The privacy check did not end within {_TIMEOUT_S} s.") from problem
        finally:
            os.close(writer)
        text = stream.read()
    if done.returncode or not text:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise DeviceError(f"The privacy check's process ended with code {done.returncode}: {said[0]}")
    rows = [WayOut(**row) for row in json.loads(text)]
    if rows and rows[0].way == "lock" and not allow_failure:
        raise DeviceError(rows[0].how)
    return rows
