"""The known ways out of a locked process, each tried for real, in a process of its own (escape_process)."""

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
from functools import partial
from pathlib import Path

from edgepose.device.sandbox.raw_calls import call, let_through, raw_calls

SECRET = b"edgepose-privacy-check"
_PTRACE_ATTACH, _PTRACE_DETACH = 16, 17
_PR_GET_DUMPABLE, _PR_SET_DUMPABLE = 3, 4
# x86-64: the socket call of x32. Elsewhere a number that no kernel knows.
_FOREIGN_NUMBER = 0x40000000 + 41 if platform.machine() == "x86_64" else 4001


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
        pipe: Number of the checker's descriptor of a pipe to itself.
        folder: A folder of the checker's.
    """

    port: int
    channel: int
    checker: int
    address: int
    pipe: int
    folder: Path


class Escape:
    """Tries them.

    Args:
        around: What they aim at.
    """

    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._go = threading.Event()
        self._old_threads = {
            name: _OldThread(act, self._go) for name, act in self._from_old_threads().items()
        }

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
            **{name: thread.answer for name, thread in self._old_threads.items()},
            "new_thread": self.new_thread,
            "passed_descriptor": self.passed_descriptor,
            "io_uring": self.io_uring,
            "ptrace": self.ptrace,
            "process_vm_readv": self.process_vm_readv,
            "proc_mem": self.proc_mem,
            "proc_fd": self.proc_fd,
            "proc_environ": self.proc_environ,
            "pidfd_getfd": self.pidfd_getfd,
            "signal": self.signal,
            "namespace": self.namespace,
            "core_dump": self.core_dump,
            "core_limit": self.core_limit,
            "dumpable": self.dumpable,
            "file_write": self.file_write,
            **{name: partial(let_through, asked) for name, asked in raw_calls(self._around.folder).items()},
            "foreign_number": self.foreign_number,
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
        return _descriptor(call("socket", socket.AF_INET, socket.SOCK_DGRAM, 0))

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
        subprocess.run([sys.executable, "-I", "-c", ""], check=True)
        return "a program ran"

    def new_thread(self) -> str:
        """A thread that is made after the lock."""
        go = threading.Event()
        go.set()
        return _OldThread(self.udp, go).answer()

    def passed_descriptor(self) -> str:
        """A connected socket that is passed in."""
        with socket.socket(fileno=os.dup(self._around.channel)) as channel:
            _, passed, _, _ = socket.recv_fds(channel, 16, 1)
        with socket.socket(fileno=passed[0]) as connection:
            connection.sendall(SECRET)
        return "a passed connection was used"

    def io_uring(self) -> str:
        """A ring, by which the kernel itself would open sockets."""
        return _descriptor(make_ring())

    def ptrace(self) -> str:
        """Another process's hands."""
        call("ptrace", _PTRACE_ATTACH, self._around.checker, 0, 0)
        os.waitpid(self._around.checker, 0)
        call("ptrace", _PTRACE_DETACH, self._around.checker, 0, 0)
        return "another process was stopped"

    def process_vm_readv(self) -> str:
        """Another process's memory, by the call for it."""
        buffer = ctypes.create_string_buffer(8)
        local = _Vector(ctypes.addressof(buffer), 8)
        remote = _Vector(self._around.address, 8)
        call("process_vm_readv", self._around.checker, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        return "another process's memory was read"

    def proc_mem(self) -> str:
        """Another process's memory, as a file."""
        descriptor = os.open(f"/proc/{self._around.checker}/mem", os.O_RDWR)
        try:
            os.pwrite(descriptor, SECRET[:8], self._around.address)
        finally:
            os.close(descriptor)
        return "another process's memory was written"

    def proc_fd(self) -> str:
        """Another process's pipe, by its descriptor."""
        path = f"/proc/{self._around.checker}/fd/{self._around.pipe}"
        descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        try:
            os.write(descriptor, SECRET)
        finally:
            os.close(descriptor)
        return "bytes went into another process's pipe"

    def proc_environ(self) -> str:
        """Another process's environment."""
        return f"{len(Path(f'/proc/{self._around.checker}/environ').read_bytes())} bytes were read"

    def pidfd_getfd(self) -> str:
        """Another process's descriptors."""
        opened = call("pidfd_open", self._around.checker, 0)
        try:
            return _descriptor(call("pidfd_getfd", opened, 1, 0))
        finally:
            os.close(opened)

    def signal(self) -> str:
        """A signal to another process, each of which is a bit."""
        os.kill(self._around.checker, 0)
        return "another process can be signalled"

    def namespace(self) -> str:
        """A namespace of its own, in which it would be root."""
        call("unshare", 0x20000)
        return "it has mounts of its own"

    def core_dump(self) -> str:
        """A crash report with the memory in it."""
        dumpable = self._libc.prctl(_PR_GET_DUMPABLE, 0, 0, 0, 0)
        if resource.getrlimit(resource.RLIMIT_CORE)[0] == 0 and dumpable == 0:
            raise PermissionError("no core is dumped")
        return "a crash would write the memory down"

    def core_limit(self) -> str:
        """A crash report that is allowed again."""
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except ValueError as problem:
            raise PermissionError(str(problem)) from problem
        return "the limit of a crash report was raised"

    def dumpable(self) -> str:
        """Its own files under /proc given back to its user."""
        call("prctl", _PR_SET_DUMPABLE, 1, 0, 0, 0)
        return "it can be looked into and dumped"

    def file_write(self) -> str:
        """A file where it has nothing to write."""
        target = self._around.folder / "file"
        target.write_bytes(SECRET)
        return "a file was written"

    def foreign_number(self) -> str:
        """A system call by a number of another calling convention."""
        return _descriptor(call(_FOREIGN_NUMBER, socket.AF_INET, socket.SOCK_DGRAM, 0))

    def _from_old_threads(self) -> dict[str, Callable[[], str]]:
        return {"old_thread": self.udp, "old_thread_proc_mem": self.proc_mem}


class _OldThread:
    """A thread that waits, acts once, and keeps what came of it."""

    def __init__(self, act: Callable[[], str], go: threading.Event) -> None:
        self._act, self._go = act, go
        self._said: str | OSError = PermissionError("it did not run")
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def answer(self) -> str:
        """Lets it act.

        Raises:
            OSError: It was refused.
        """
        self._go.set()
        self._thread.join(10)
        if isinstance(self._said, OSError):
            raise self._said
        return self._said

    def _run(self) -> None:
        self._go.wait()
        try:
            self._said = self._act()
        except OSError as problem:
            self._said = problem


def make_ring() -> int:
    """An io_uring ring.

    Raises:
        OSError: The kernel makes none.
    """
    return call("io_uring_setup", 4, ctypes.create_string_buffer(120))


def _descriptor(result: int) -> str:
    os.close(result)
    return "the kernel gave a descriptor"
