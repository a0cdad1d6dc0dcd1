"""What a service tells systemd, over a real datagram socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepose.device.run.sd_notify import STEADY_S, SystemdNotifier
from tests.support.pictures import persons_at, result_of

RESULT = result_of(persons_at([(100.0, 100.0)]))


@pytest.fixture(name="systemd")
def _systemd(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(0)
        yield listener


def said(systemd: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(systemd.recv(4096).decode())
        except BlockingIOError:
            return found


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


def test_ready_comes_with_the_first_pose_and_signs_only_with_frames(systemd: socket.socket) -> None:
    clock = Clock()
    environment = {"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "30000000"}
    notifier = SystemdNotifier(environment, clock_ns=clock)
    assert said(systemd) == []
    notifier.write(RESULT)
    assert said(systemd) == ["READY=1\nSTATUS=Poses are being estimated."]
    clock.now_ns = 9_000_000_000
    notifier.write(RESULT)
    assert said(systemd) == []
    clock.now_ns = 10_000_000_000
    notifier.write(RESULT)
    assert said(systemd) == ["WATCHDOG=1"]
    # No frame for an hour: no sign, and systemd restarts the service.
    clock.now_ns += 3_600_000_000_000
    assert said(systemd) == []
    notifier.close(complete=True)
    notifier.close(complete=True)
    assert said(systemd) == ["STOPPING=1"]


def test_a_steady_minute_is_told_once() -> None:
    clock, steady = Clock(), list[int]()
    notifier = SystemdNotifier({}, lambda: steady.append(1), clock)
    for second in (0, STEADY_S - 1, STEADY_S, STEADY_S + 1):
        clock.now_ns = int(second * 1e9)
        notifier.write(RESULT)
        assert len(steady) == (second >= STEADY_S)


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify"])
def test_without_systemd_nothing_is_said(address: str) -> None:
    notifier = SystemdNotifier({"NOTIFY_SOCKET": address})
    notifier.write(RESULT)
    notifier.close(complete=True)


def test_a_busy_systemd_does_not_hold_up_a_frame(systemd: socket.socket) -> None:
    clock = Clock()
    notifier = SystemdNotifier({"NOTIFY_SOCKET": systemd.getsockname(), "WATCHDOG_USEC": "3"}, clock_ns=clock)
    for _ in range(2000):
        clock.now_ns += 1_000_000
        notifier.write(RESULT)
    assert said(systemd)
    notifier.close(complete=True)
