"""Runs a program whose answer is someone else's: it may not grow, last or stay silent without end.

Devices behind ssh or adb, package indexes and Ansible's plug-ins answer through local programs. What they say
is read as it comes and thrown away with the program as soon as it breaks a limit, so that neither the memory
nor the patience of this machine is theirs to use up.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from edgepose.errors import DeployError
from edgepose.records.record import ErrorType
from edgepose.sandbox.python_child import start_words

MIB = 1 << 20
_PIECE = 1 << 16
# Looks for the program's end so often where a child of it keeps its pipes open.
_LOOK_S = 0.2
# What was written before the end has long arrived; who holds the pipe then is another process.
_AFTER_END_S = 1.0
_TERMINATE_S = 2.0


@dataclass(frozen=True)
class AnswerLimits:
    """What an answer may take.

    Attributes:
        bytes: Of standard output and standard error together.
        silence_s: So long without a byte in either direction.
        total_s: From beginning to end; None where only silence counts.
    """

    bytes: int = 16 * MIB
    silence_s: float = 120.0
    total_s: float | None = None


@dataclass(frozen=True)
class Answer:
    """A program that ended by itself.

    Attributes:
        code: Its exit code.
        stdout: What it wrote.
        stderr: What it said.
    """

    code: int
    stdout: bytes
    stderr: str


@dataclass(frozen=True)
class BoundedCall:
    """What to start.

    Attributes:
        command: Program and arguments.
        who: Whose answer it is, for messages, such as ``pi@camera-3``.
        limits: What the answer may take.
        stdin: Pieces of its standard input.
        cwd: Where it runs: the root, or a private folder.
        changes: Changes to the environment.
        on_output: Takes pieces of its standard output as they come, which then are not kept and do not count.
        error: Family of the error where a limit is broken.
    """

    command: Sequence[str]
    who: str
    limits: AnswerLimits = AnswerLimits()
    stdin: Iterable[bytes] = ()
    cwd: Path = Path("/")
    changes: Mapping[str, str] | None = None
    on_output: Callable[[bytes], None] | None = None
    error: ErrorType = DeployError


def run_bounded(call: BoundedCall) -> Answer:
    """Runs a program to its end, or ends it where it breaks a limit.

    Raises:
        EdgeposeError: Of the call's family: the answer is too long, takes too long or has stopped.
        OSError: The program cannot be started.
    """
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = start_words(call.command, cwd=call.cwd, changes=call.changes, **pipes)
    with ExitStack() as ended:
        ended.callback(_end, process)
        conversation = _Conversation(process, call)
        ended.callback(conversation.close)
        return conversation.held()


class _Conversation:
    """Writes what is to be said and reads what is answered, whichever is possible, within the limits."""

    def __init__(self, process: subprocess.Popen[bytes], call: BoundedCall) -> None:
        self._process, self._call, self._limits = process, call, call.limits
        self._kept: dict[str, list[bytes]] = {"stdout": [], "stderr": []}
        self._bytes = 0
        self._pieces: Iterator[bytes] = iter(call.stdin)
        self._rest = memoryview(b"")
        self._selector = selectors.DefaultSelector()
        self._begun_s = self._moved_s = time.monotonic()
        self._ended_s: float | None = None
        for name in ("stdout", "stderr"):
            self._register(getattr(process, name), selectors.EVENT_READ, name)
        self._register(process.stdin, selectors.EVENT_WRITE, "stdin")

    def held(self) -> Answer:
        """The whole conversation."""
        while not self._is_over():
            for key, _ in self._selector.select(_LOOK_S):
                if key.data == "stdin":
                    self._write(key.fileobj)
                else:
                    self._read(key.fileobj, key.data)
            self._check()
        text = b"".join(self._kept["stderr"]).decode(errors="replace")
        return Answer(self._process.wait(), b"".join(self._kept["stdout"]), text)

    def close(self) -> None:
        """Closes this side's ends."""
        self._selector.close()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()

    def _register(self, stream: IO[bytes] | None, event: int, name: str) -> None:
        if stream is not None:
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream, event, name)

    def _is_over(self) -> bool:
        reading = {key.data for key in self._selector.get_map().values()} - {"stdin"}
        if self._process.poll() is None:
            return False
        if not reading:
            return True
        # A child that outlives the program, such as ssh's shared connection, may hold its pipes open.
        now_s = time.monotonic()
        self._ended_s = now_s if self._ended_s is None else self._ended_s
        return now_s - max(self._ended_s, self._moved_s) > _AFTER_END_S

    def _write(self, stream: object) -> None:
        try:
            while not self._rest:
                self._rest = memoryview(next(self._pieces))
            self._rest = self._rest[os.write(_number(stream), self._rest[:_PIECE]) :]
            self._moved_s = time.monotonic()
        except BlockingIOError:
            return
        except (StopIteration, BrokenPipeError):
            # All is said, or who stopped reading says why on standard error.
            self._drop(stream)

    def _read(self, stream: object, name: str) -> None:
        try:
            piece = os.read(_number(stream), _PIECE)
        except BlockingIOError:
            return
        if not piece:
            self._drop(stream)
            return
        self._moved_s = time.monotonic()
        if name == "stdout" and self._call.on_output is not None:
            self._call.on_output(piece)
            return
        self._kept[name].append(piece)
        self._bytes += len(piece)
        if self._bytes > self._limits.bytes:
            raise self._call.error(
                f"{self._call.who} answered with more than {self._limits.bytes / MIB:.0f} MiB, which nothing "
                "here asks for.",
                "Whoever answers is broken or hostile; look at it before you try again.",
            )

    def _drop(self, stream: object) -> None:
        self._selector.unregister(stream)  # type: ignore[arg-type]
        stream.close()  # type: ignore[attr-defined]

    def _check(self) -> None:
        now_s, limits = time.monotonic(), self._limits
        if limits.total_s is not None and now_s - self._begun_s > limits.total_s:
            raise self._call.error(
                f"{self._call.who} did not end within {limits.total_s:.0f} s.", "Try again."
            )
        if now_s - self._moved_s > limits.silence_s:
            raise self._call.error(
                f"{self._call.who} has been silent for {limits.silence_s:.0f} s in the middle of an answer.",
                "Check the device and the network, and try again.",
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the program where it still runs; it is asked first, so that it can end its own children."""
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_TERMINATE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _number(stream: object) -> int:
    number: int = stream.fileno()  # type: ignore[attr-defined]
    return number
