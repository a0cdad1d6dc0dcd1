"""The process that is locked as the runtime is and then tries to get out; its answers go through a pipe.

What a process may have been started with, and would get out by if the lock let it stay.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from edgepose.device.sandbox.escape_probes import SECRET, Escape, Surroundings, make_ring
from edgepose.device.sandbox.lock import lock_process
from edgepose.device.sandbox.raw_calls import call
from edgepose.errors import DeviceError
from edgepose.records.device_status import SandboxReport

# include/uapi/asm-generic/ioctls.h
_TIOCSTI = 0x5412


@dataclass(frozen=True)
class HeldThings:
    """What the checker hands over, as descriptors, and what they aim at.

    Attributes:
        connection: A TCP connection to the checker's listener.
        pair: One end of a pair of Unix sockets.
        master: The master of a terminal that the checker has open.
        memory: The checker's memory (/proc/PID/mem).
        process: A pidfd of the checker.
        terminal: Path of another terminal, whose master the checker has.
        address: Of eight bytes in the checker's memory.
        channel: A socket to the checker that is none of these.
    """

    connection: int
    pair: int
    master: int
    memory: int
    process: int
    terminal: str
    address: int
    channel: int

    def ways(self) -> dict[str, Callable[[], Callable[[], str]]]:
        """Each way by name: a function that gets hold of the thing and returns one that uses it."""
        return {
            "inherited_socket": self._socket,
            "inherited_stdin": self._stdin,
            "inherited_ring": self._ring,
            "inherited_terminal": self._terminal_master,
            "inherited_memory": self._memory,
            "inherited_process": self._pidfd,
            "terminal_input": self._terminal_input,
        }

    def close(self) -> None:
        """Lets go of all."""
        for descriptor in (self.connection, self.pair, self.master, self.memory, self.process):
            os.close(descriptor)

    def _only(self, kept: int) -> None:
        held = (self.connection, self.pair, self.master, self.memory, self.process, self.channel)
        for descriptor in held:
            if descriptor != kept:
                os.close(descriptor)

    def _socket(self) -> Callable[[], str]:
        self._only(self.connection)

        def use() -> str:
            with socket.socket(fileno=self.connection) as connection:
                connection.sendall(SECRET)
            return "an inherited connection was used"

        return use

    def _stdin(self) -> Callable[[], str]:
        os.dup2(self.pair, 0)
        self._only(-1)

        def use() -> str:
            os.write(0, SECRET)
            return "bytes went out by standard input, which is a socket"

        return use

    def _ring(self) -> Callable[[], str]:
        self._only(-1)
        ring = make_ring()

        def use() -> str:
            call("io_uring_enter", ring, 0, 0, 0, None, 0)
            return "a ring that was there before takes orders"

        return use

    def _terminal_master(self) -> Callable[[], str]:
        self._only(self.master)

        def use() -> str:
            os.write(self.master, b"#")
            return "a character was typed into a terminal"

        return use

    def _memory(self) -> Callable[[], str]:
        self._only(self.memory)

        def use() -> str:
            os.pwrite(self.memory, SECRET[:8], self.address)
            return "another process's memory was written"

        return use

    def _pidfd(self) -> Callable[[], str]:
        self._only(self.process)

        def use() -> str:
            signal.pidfd_send_signal(self.process, 0)
            return "another process was signalled by its descriptor"

        return use

    def _terminal_input(self) -> Callable[[], str]:
        self._only(-1)
        os.setsid()
        # It becomes the session's own.
        terminal = os.open(self.terminal, os.O_RDWR)
        os.dup2(terminal, 0)
        os.close(terminal)

        def use() -> str:
            fcntl.ioctl(0, _TIOCSTI, b"#")
            return "a character was put into its own terminal, as if it had been typed"

        return use


def tried(name: str, hold: Callable[[], Callable[[], str]], *, sandbox: bool) -> dict[str, object]:
    """Tries one in a child process, and says what came of it.

    Args:
        name: Of the way.
        hold: See :meth:`HeldThings.ways`.
        sandbox: Whether the child locks itself in.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        os.write(writer, json.dumps(_in_child(hold, sandbox=sandbox)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read()
    os.waitpid(pid, 0)
    outcome = json.loads(said) if said else {"refused": False, "how": "its process ended without an answer"}
    return {"way": name, **outcome}


def _in_child(hold: Callable[[], Callable[[], str]], *, sandbox: bool) -> dict[str, object]:
    try:
        use = hold()
        if sandbox:
            lock_process()
        return {"refused": False, "how": use()}
    except DeviceError as problem:
        return {"refused": True, "how": problem.message}
    except OSError as problem:
        return {"refused": True, "how": str(problem)}


# In which it may write, as a service may in its root.
OWN_FOLDER = "own"
NUMBERS = (
    "port", "channel", "checker", "address", "pipe", "answers", "connection", "pair", "master", "memory",
    "process",
)  # fmt: skip


def main() -> None:
    """Tries what a child with something inherited can do, locks itself, tries the rest; a row for each."""
    parser = argparse.ArgumentParser()
    for name in NUMBERS:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--terminal", required=True)
    parser.add_argument("--without-sandbox", action="store_true")
    given = parser.parse_args()
    sandbox = not given.without_sandbox
    held = HeldThings(
        given.connection, given.pair, given.master, given.memory, given.process, given.terminal,
        given.address, given.channel,
    )  # fmt: skip
    # Before there is a second thread: a fork keeps only one.
    rows = [tried(name, hold, sandbox=sandbox) for name, hold in held.ways().items()]
    held.close()
    around = Surroundings(given.port, given.channel, given.checker, given.address, given.pipe, given.folder)
    escape = Escape(around)
    lock = SandboxReport(enforced=False, mechanisms=())
    try:
        if sandbox:
            lock = lock_process(frozenset({given.channel}), writable=(given.folder / OWN_FOLDER,))
    except DeviceError as problem:
        _answer(given.answers, rows, lock, problem.message)
    for name, act in escape.ways().items():
        try:
            rows.append({"way": name, "refused": False, "how": act()})
        except OSError as problem:
            rows.append({"way": name, "refused": True, "how": str(problem)})
    _answer(given.answers, rows, lock)


def _answer(
    descriptor: int, rows: list[dict[str, object]], lock: SandboxReport, problem: str = ""
) -> NoReturn:
    answer = {
        "rows": rows,
        "mechanisms": lock.mechanisms,
        "not_guaranteed": lock.not_guaranteed,
        "problem": problem,
    }
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    # A locked process cannot wait for what it must not make; nothing is left to do.
    os._exit(0)


if __name__ == "__main__":
    main()
