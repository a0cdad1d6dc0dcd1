"""The known ways out of a locked process, each tried for real. Runs in a process of its own (see escape)."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from edgepose.sandbox.syscalls import ARCHITECTURES

SECRET = b"edgepose-privacy-check"
_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17


class _Vector(ctypes.Structure):
    """``struct iovec``."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


@dataclass(frozen=True)
class Surroundings:
    """What the ways out aim at.

    Attributes:
        port: A TCP and a UDP port of the checker on loopback, which counts what arrives.
        channel: A Unix socket to the checker, opened before the lock, over which it passes a TCP socket.
        checker: The checker's process.
        address: Of eight bytes in the checker's memory.
    """

    port: int
    channel: int
    checker: int
    address: int


class Escape:
    """Tries them.

    Args:
        around: What they aim at.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._go, self._ended = threading.Event(), threading.Event()
        self._old_thread_says = "it did not run"
        threading.Thread(target=self._wait_and_send, daemon=True).start()

    def ways(self) -> dict[str, Callable[[], str]]:
        """Each way by name; it returns how it got out, and raises where it did not."""
        return {
            "tcp": self.tcp,
            "udp": self.udp,
            "dns": self.dns,
            "raw_syscall": self.raw_syscall,
            "unix_socket": self.unix_socket,
            "child": self.child,
            "exec": self.exec,
            "old_thread": self.old_thread,
            "new_thread": self.new_thread,
            "passed_descriptor": self.passed_descriptor,
            "io_uring": self.io_uring,
            "ptrace": self.ptrace,
            "process_vm_readv": self.process_vm_readv,
            "pidfd_getfd": self.pidfd_getfd,
            "namespace": self.namespace,
            "core_dump": self.core_dump,
        }

    def tcp(self) -> str:
        """A connection."""
        with socket.create_connection(("127.0.0.1", self._around.port), timeout=5) as connection:
            connection.sendall(SECRET)
        return "bytes were sent"

    def udp(self) -> str:
        """A datagram."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
            datagram.sendto(SECRET, ("127.0.0.1", self._around.port))
        return "a datagram was sent"

    def dns(self) -> str:
        """A question to a name server, with the secret as the name."""
        question = struct.pack(">6H", 7, 256, 1, 0, 0, 0) + bytes([len(SECRET)]) + SECRET + b"\0\0\1\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
            resolver.sendto(question, ("127.0.0.1", self._around.port))
        return "a name was asked for"

    def raw_syscall(self) -> str:
        """The kernel's own call, past the C library's function."""
        number = self._number("socket")
        return self._descriptor(self._libc.syscall(ctypes.c_long(number), 2, 2, 0))

    def unix_socket(self) -> str:
        """A pair of connected sockets, to pass something on."""
        left, right = socket.socketpair()
        left.close()
        right.close()
        return "a pair was made"

    def child(self) -> str:
        """A child process, which would not be locked by a careless lock."""
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        return f"process {pid} ran"

    def exec(self) -> str:
        """Another program."""
        subprocess.run([sys.executable, "-c", ""], check=True)
        return "a program ran"

    def old_thread(self) -> str:
        """A thread that was there before the lock."""
        self._go.set()
        self._ended.wait(10)
        if self._old_thread_says != "sent":
            raise PermissionError(self._old_thread_says)
        return "it sent a datagram"

    def new_thread(self) -> str:
        """A thread that is made after the lock."""
        said: list[str] = []

        def act() -> None:
            try:
                said.append(self.udp())
            except OSError as problem:
                said.append(f"refused: {problem}")

        thread = threading.Thread(target=act)
        thread.start()
        thread.join(10)
        if said[0].startswith("refused"):
            raise PermissionError(said[0])
        return said[0]

    def passed_descriptor(self) -> str:
        """A connected socket that somebody passes in."""
        with socket.socket(fileno=os.dup(self._around.channel)) as channel:
            _, passed, _, _ = socket.recv_fds(channel, 16, 1)
        with socket.socket(fileno=passed[0]) as connection:
            connection.sendall(SECRET)
        return "a passed connection was used"

    def io_uring(self) -> str:
        """A ring, by which the kernel itself would open sockets."""
        parameters = ctypes.create_string_buffer(120)
        number = self._number("io_uring_setup")
        return self._descriptor(self._libc.syscall(ctypes.c_long(number), 4, parameters))

    def ptrace(self) -> str:
        """Another process's hands."""
        number, pid = self._number("ptrace"), self._around.checker
        self._check(self._libc.syscall(ctypes.c_long(number), _PTRACE_ATTACH, pid, 0, 0))
        os.waitpid(pid, 0)
        self._libc.syscall(ctypes.c_long(number), _PTRACE_DETACH, pid, 0, 0)
        return "another process was stopped"

    def process_vm_readv(self) -> str:
        """Another process's memory."""
        buffer = ctypes.create_string_buffer(8)
        local = _Vector(ctypes.addressof(buffer), 8)
        remote = _Vector(self._around.address, 8)
        one, none = ctypes.c_ulong(1), ctypes.c_ulong(0)
        number, pid = ctypes.c_long(self._number("process_vm_readv")), ctypes.c_int(self._around.checker)
        result = self._libc.syscall(number, pid, ctypes.byref(local), one, ctypes.byref(remote), one, none)
        self._check(result)
        return "another process's memory was read"

    def pidfd_getfd(self) -> str:
        """Another process's descriptors."""
        opened = self._libc.syscall(ctypes.c_long(self._number("pidfd_open")), self._around.checker, 0)
        self._check(opened)
        return self._descriptor(self._libc.syscall(ctypes.c_long(self._number("pidfd_getfd")), opened, 1, 0))

    def namespace(self) -> str:
        """A namespace of its own, in which it would be root."""
        self._check(self._libc.syscall(ctypes.c_long(self._number("unshare")), 0x20000))
        return "it has mounts of its own"

    def core_dump(self) -> str:
        """A crash report with the memory in it."""
        if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0 and self._libc.prctl(3, 0, 0, 0, 0) == 0:
            raise PermissionError("no core is dumped")
        return "a crash would write the memory down"

    def _wait_and_send(self) -> None:
        self._go.wait()
        try:
            self.udp()
            self._old_thread_says = "sent"
        except OSError as problem:
            self._old_thread_says = str(problem)
        self._ended.set()

    def _number(self, name: str) -> int:
        return ARCHITECTURES[platform.machine()].numbers[name]

    def _descriptor(self, result: int) -> str:
        self._check(result)
        os.close(result)
        return "the kernel gave a descriptor"

    def _check(self, result: int) -> None:
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
