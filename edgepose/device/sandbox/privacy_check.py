"""Proves on the spot that a locked process cannot send anything: one tries, and a listener counts."""

from __future__ import annotations

import ctypes
import json
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from edgepose.device.sandbox.escape_probes import SECRET
from edgepose.device.sandbox.escape_process import OWN_FOLDER
from edgepose.errors import DeviceError
from edgepose.records.device_status import SandboxReport
from edgepose.records.record import Record
from edgepose.sandbox.python_child import run_python

_TIMEOUT_S = 180
_ESCAPE = "edgepose.device.sandbox.escape_process"
_UNTOUCHED = b"memory!!"


class WayOut(Record, frozen=True, kw_only=True):
    """One way that was tried.

    Attributes:
        way: Its name.
        refused: Whether it was refused.
        how: The error, or how it got out.
        control: What came of it without the lock: ``open``, or ``refused`` where the system refuses it anyway
            (a missing right, a missing feature), so that the row proves nothing here.
        control_how: The error, or how it got out then.
    """

    way: str
    refused: bool
    how: str
    control: Literal["open", "refused"]
    control_how: str


class PrivacyReport(Record, frozen=True, kw_only=True):
    """``privacy-check --json``.

    Attributes:
        schema: ``edgepose.privacy_check/1``.
        sandbox: Whether the process was locked; without, it is the negative control.
        passed: Whether every way was refused and nothing arrived.
        arrived: How often the planted secret arrived at the listener.
        ways: A row a way.
        proven: How many ways are refused and were open in the control.
        mechanisms: What the lock consists of on this kernel.
        not_guaranteed: What it does not guarantee on this kernel.
    """

    schema: str
    sandbox: bool
    passed: bool
    arrived: int
    ways: tuple[WayOut, ...]
    proven: int = 0
    mechanisms: tuple[str, ...] = ()
    not_guaranteed: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Tried:
    """What one process said.

    Attributes:
        rows: Name, whether it was refused, and how.
        arrived: How often the secret arrived.
        lock: What held.
    """

    rows: dict[str, tuple[bool, str]]
    arrived: int
    lock: SandboxReport


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
    """Tries every known way out of a process that is locked as the runtime is, and of one that is not.

    Args:
        sandbox: False leaves both unlocked: the negative control.

    Raises:
        DeviceError: The process could not be locked, or did not answer; or nothing arrives without the lock
            either, so that the check proves nothing.
    """
    control = _tried(sandbox=False)
    if not control.arrived:
        raise DeviceError(
            "Nothing arrives at the listener even without the lock, so the check proves nothing."
        )
    tried = _tried(sandbox=True) if sandbox else control
    rows = []
    for way, (refused, how) in tried.rows.items():
        without, control_how = control.rows[way]
        rows.append(
            WayOut(
                way=way,
                refused=refused,
                how=how,
                control="refused" if without else "open",
                control_how=control_how,
            )
        )
    return PrivacyReport(
        schema="edgepose.privacy_check/1",
        sandbox=sandbox,
        passed=sandbox and tried.arrived == 0 and all(row.refused for row in rows),
        arrived=tried.arrived,
        ways=tuple(rows),
        proven=sum(row.refused and row.control == "open" for row in rows),
        mechanisms=tried.lock.mechanisms,
        not_guaranteed=tried.lock.not_guaranteed,
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
        ""
        if not report.sandbox
        else " ".join([*report.not_guaranteed, "Do not use it for live pictures as it is."]),
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


def _tried(*, sandbox: bool) -> _Tried:
    """Runs one process, with all around it that it can aim at."""
    own_memory = ctypes.create_string_buffer(_UNTOUCHED, 8)
    with _listening() as listener, TemporaryDirectory(prefix="edgepose-") as folder, ExitStack() as opened:

        def closing(descriptor: int) -> int:
            opened.callback(os.close, descriptor)
            return descriptor

        channel, theirs = (opened.enter_context(end) for end in socket.socketpair())
        pair, their_pair = (opened.enter_context(end) for end in socket.socketpair())
        address = ("127.0.0.1", listener.port)
        passed = opened.enter_context(socket.create_connection(address))
        inherited = opened.enter_context(socket.create_connection(address))
        socket.send_fds(channel, [b"take this"], [passed.fileno()])
        pipe_out, pipe_in = map(closing, os.pipe())
        master, _slave = map(closing, os.openpty())
        _second_master, second_slave = map(closing, os.openpty())
        memory = closing(os.open(f"/proc/{os.getpid()}/mem", os.O_RDWR | os.O_CLOEXEC))
        (Path(folder) / OWN_FOLDER).mkdir()
        numbers = {
            "port": listener.port, "channel": theirs.fileno(), "checker": os.getpid(),
            "address": ctypes.addressof(own_memory), "pipe": pipe_in, "connection": inherited.fileno(),
            "pair": their_pair.fileno(), "master": master, "memory": memory,
            "process": closing(os.pidfd_open(os.getpid())),
        }  # fmt: skip
        words = {"folder": folder, "terminal": os.ttyname(second_slave)}
        names = ("channel", "connection", "pair", "master", "memory", "process")
        passing = tuple(numbers[name] for name in names)
        rows, lock = _answers({**numbers, **words}, passing, sandbox=sandbox)
        # What was sent just now may still be on its way through the kernel's loopback.
        threading.Event().wait(0.3)
        arrived = [*listener.arrived, own_memory.raw]
        for descriptor in (pipe_out, pair.fileno()):
            os.set_blocking(descriptor, False)
            with suppress(OSError):
                arrived.append(os.read(descriptor, 4096))
    hits = sum(SECRET in piece or piece == SECRET[:8] for piece in arrived)
    return _Tried(rows, hits, lock)


def _answers(
    given: Mapping[str, object], passing: tuple[int, ...], *, sandbox: bool
) -> tuple[dict[str, tuple[bool, str]], SandboxReport]:
    reader, writer = os.pipe()
    words = ["--answers", str(writer), *([] if sandbox else ["--without-sandbox"])]
    words += [word for name, value in given.items() for word in (f"--{name}", str(value))]
    with os.fdopen(reader, encoding="utf-8") as stream:
        try:
            done = run_python(_ESCAPE, words, pass_fds=(*passing, writer), timeout_s=_TIMEOUT_S)
        except subprocess.TimeoutExpired as problem:
            raise DeviceError(f"The privacy check did not end within {_TIMEOUT_S} s.") from problem
        finally:
            os.close(writer)
        text = stream.read()
    if done.returncode or not text:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise DeviceError(f"The privacy check's process ended with code {done.returncode}: {said[0]}")
    answer = json.loads(text)
    if answer["problem"]:
        raise DeviceError(answer["problem"])
    lock = SandboxReport(
        enforced=sandbox,
        mechanisms=tuple(answer["mechanisms"]),
        not_guaranteed=tuple(answer["not_guaranteed"]),
    )
    return {row["way"]: (row["refused"], row["how"]) for row in answer["rows"]}, lock
