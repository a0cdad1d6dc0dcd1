"""What may stay open in a process with pictures, descriptor by descriptor."""

from __future__ import annotations

import os
import socket
import stat

import pytest

from edgepose.device.sandbox.descriptors import (
    AllowedSockets,
    Descriptor,
    all_device_kinds,
    device_kinds,
    refusal,
)

OWN = 4711
FILE, FOLDER, PIPE = stat.S_IFREG | 0o600, stat.S_IFDIR | 0o700, stat.S_IFIFO | 0o600
CHARACTER, BLOCK, OBJECT, SOCKET = stat.S_IFCHR | 0o600, stat.S_IFBLK | 0o600, 0o600, stat.S_IFSOCK | 0o600
JOURNAL = "/run/systemd/journal/stdout"


def may_stay(descriptor: Descriptor, allowed: AllowedSockets | None = None) -> bool:
    return refusal(descriptor, allowed or AllowedSockets(), OWN) is None


@pytest.mark.parametrize(
    ("target", "mode", "flags"),
    [
        ("/var/lib/edgepose/poses.jsonl", FILE, os.O_WRONLY),
        ("/memfd:edgepose-pictures (deleted)", FILE, os.O_RDWR),
        ("/var/lib/edgepose", FOLDER, os.O_RDONLY),
        ("pipe:[12]", PIPE, os.O_WRONLY),
        ("/dev/null", CHARACTER, os.O_RDWR),
        ("/dev/urandom", CHARACTER, os.O_RDONLY),
        ("/dev/video0", CHARACTER, os.O_RDWR),
        ("/dev/apex_0", CHARACTER, os.O_RDWR),
        ("/dev/nvhost-ctrl-gpu", CHARACTER, os.O_RDWR),
        ("/dev/bus/usb/001/004", CHARACTER, os.O_RDWR),
        ("anon_inode:[eventfd]", OBJECT, os.O_RDWR),
        ("anon_inode:[eventpoll]", OBJECT, os.O_RDWR),
    ],
)
def test_what_a_runtime_needs_may_stay(target: str, mode: int, flags: int) -> None:
    assert may_stay(Descriptor(7, target, mode, flags))


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        ("/dev/sda", BLOCK), ("/dev/video0", BLOCK), ("/dev/mem", CHARACTER), ("/dev/fuse", CHARACTER),
        ("/dev/net/tun", CHARACTER), ("/dev/uinput", CHARACTER), ("/dev/ptmx", CHARACTER),
        ("/dev/pts/ptmx", CHARACTER), ("/dev/pts/3", CHARACTER), ("/dev/ttyUSB0", CHARACTER),
        ("/dev/kvm", CHARACTER), ("/dev/input/event0", CHARACTER), ("anon_inode:[io_uring]", OBJECT),
        ("anon_inode:[pidfd]", OBJECT), ("anon_inode:bpf-prog", OBJECT), ("anon_inode:[perf_event]", OBJECT),
        ("anon_inode:[fanotify]", OBJECT), ("anon_inode:[fscontext]", OBJECT),
        ("anon_inode:seccomp notify", OBJECT),
        ("anon_inode:[userfaultfd]", OBJECT), ("anon_inode:[made-tomorrow]", OBJECT),
    ],
)  # fmt: skip
def test_what_is_on_no_list_may_not(target: str, mode: int) -> None:
    why = refusal(Descriptor(7, target, mode, os.O_RDWR), AllowedSockets(), OWN)
    assert why is not None
    assert "descriptor 7" in why
    assert target in why


def test_a_terminal_is_a_standard_stream_or_none() -> None:
    for number, expected in ((0, True), (2, True), (3, False)):
        assert may_stay(Descriptor(number, "/dev/pts/3", CHARACTER, os.O_RDWR)) is expected
    # A master as standard stream is still a master; one whose terminal nobody has open leads nowhere.
    assert not may_stay(Descriptor(0, "/dev/pts/ptmx", CHARACTER, os.O_RDWR))
    assert may_stay(Descriptor(5, "/dev/ptmx", CHARACTER, os.O_RDWR, hung_up=True))


@pytest.mark.parametrize(
    ("target", "mode", "flags", "expected"),
    [
        (f"/proc/{OWN}/statm", FILE, os.O_RDONLY, True),
        (f"/proc/{OWN}", FOLDER, os.O_RDONLY, True),
        ("/proc/meminfo", FILE, os.O_RDONLY, True),
        (f"/proc/{OWN}/mem", FILE, os.O_RDWR, False),
        (f"/proc/{OWN}1/statm", FILE, os.O_RDONLY, False),
        ("/proc/1/mem", FILE, os.O_RDWR, False),
        ("/proc/1", FOLDER, os.O_RDONLY, False),
        ("/proc", FOLDER, os.O_RDONLY, False),
        ("/proc/sys/kernel/core_pattern", FILE, os.O_WRONLY, False),
    ],
)
def test_of_processes_its_own_may_be_read(target: str, mode: int, flags: int, *, expected: bool) -> None:
    assert may_stay(Descriptor(7, target, mode, flags, on_proc=True)) is expected


def test_a_setting_of_the_kernel_and_a_path_may_not_stay() -> None:
    assert may_stay(Descriptor(7, "/sys/class/thermal/thermal_zone0/temp", FILE, os.O_RDONLY))
    assert not may_stay(Descriptor(7, "/sys/power/state", FILE, os.O_WRONLY))
    assert not may_stay(Descriptor(7, "/", FOLDER, 0o10000000))


def sock(number: int, family: socket.AddressFamily, peer: str = "", *, connected: bool = True) -> Descriptor:
    return Descriptor(
        number, "socket:[9]", SOCKET, os.O_RDWR, family=int(family), connected=connected, peer=peer
    )


def test_a_socket_stays_only_for_a_reason() -> None:
    unix, internet = socket.AF_UNIX, socket.AF_INET
    assert not may_stay(sock(7, unix))
    assert not may_stay(sock(0, unix))
    assert not may_stay(sock(1, unix))
    assert may_stay(sock(7, unix), AllowedSockets(frozenset({7})))
    assert may_stay(sock(7, unix), AllowedSockets(unix=True))
    assert not may_stay(sock(7, internet), AllowedSockets(frozenset({7}), unix=True))
    assert may_stay(sock(7, internet), AllowedSockets(internet=True))
    assert not may_stay(sock(7, internet, connected=False), AllowedSockets(internet=True))
    assert not may_stay(sock(7, socket.AF_NETLINK), AllowedSockets(frozenset({7}), internet=True, unix=True))


def test_the_journal_may_be_standard_output_and_nothing_else() -> None:
    assert may_stay(sock(1, socket.AF_UNIX, JOURNAL))
    assert may_stay(sock(2, socket.AF_UNIX, JOURNAL))
    assert not may_stay(sock(0, socket.AF_UNIX, JOURNAL))
    assert not may_stay(sock(7, socket.AF_UNIX, JOURNAL))
    assert not may_stay(sock(1, socket.AF_UNIX, "/home/run/systemd/journal/stdout"))


def test_controls_come_with_the_device_that_is_open() -> None:
    letters = {
        chr(control.letter)
        for kind in device_kinds(Descriptor(7, "/dev/video0", CHARACTER, os.O_RDWR))
        for control in kind.ioctls
    }
    assert "V" in letters
    assert not letters & set("TUN")
    assert device_kinds(Descriptor(7, "/dev/null", CHARACTER, os.O_RDWR))[0].ioctls == ()
    # A Jetson's scheduler has a terminal's letter; its numbers have a direction, TIOCSTI's has none.
    with_t = {
        kind.name for kind in all_device_kinds() for control in kind.ioctls if control.letter == ord("T")
    }
    assert with_t == {"jetson"}
