"""Runs what gives a foreign file to a framework, in a process that is locked in (ADR 0036).

It has no network, starts no program and no process, writes into a folder of its own alone, and is limited in
memory, time and size of files. What it makes comes back through files that were opened here beforehand, so no
name that it could replace is ever followed.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.sandbox import locked_start
from edgepose.sandbox.loader_lock import LoaderLimits
from edgepose.sandbox.python_child import child_environment, import_folders, run_words, script_command

_START = Path(locked_start.__file__)
_GIB = 1 << 30
# TensorFlow itself takes about half a gibibyte; a conversion holds a model some ten times.
_LEAST_MEMORY_BYTES, _MEMORY_PER_BYTE = 4 * _GIB, 16
_LEAST_FILE_BYTES, _FILE_PER_BYTE = _GIB // 4, 4
_SHOWN_BYTES = 1 << 16
# What frameworks read of the environment, and nothing of the user's.
_KEPT_NAMES = frozenset({"PATH", "LANG", "LANGUAGE", "TZ", "LD_LIBRARY_PATH", "LD_PRELOAD"})
_KEPT_BEGINNINGS = ("LC_", "OMP_", "OPENBLAS_", "MKL_", "TF_", "GLIBC_TUNABLES")


@dataclass(frozen=True)
class LoaderTask:
    """What a locked process is to do.

    Attributes:
        what: A module of edgepose, or a script of another interpreter.
        arguments: Its arguments. The numbers of the descriptors of ``outputs`` follow them.
        model: The foreign file or folder, which sets the limits; it may be read.
        readable: What else may be read.
        outputs: Files that it fills.
        timeout_s: It is killed after this long.
        changes: Changes to the environment.
        python: Another interpreter, with imports of its own.
    """

    what: str
    arguments: Sequence[str]
    model: Path
    readable: tuple[Path, ...] = ()
    outputs: tuple[Path, ...] = ()
    timeout_s: float = 900.0
    changes: Mapping[str, str] = field(default_factory=dict)
    python: Path | None = None


def run_locked(task: LoaderTask) -> tuple[int, str]:
    """Runs a task to its end.

    Returns:
        The exit code, negative for a signal, and the end of what the process said.

    Raises:
        ModelError: It took too long.
        MissingDependencyError: The kernel cannot lock a process in.
    """
    with (
        TemporaryDirectory(prefix="edgepose-loader-") as folder,
        TemporaryFile() as said,
        ExitStack() as opened,
    ):
        numbers = [opened.enter_context(_opened(path)) for path in task.outputs]
        words = locked_command(task, [str(number) for number in numbers])
        try:
            environment = loader_environment(folder, task.changes)
            done = run_words(
                words, cwd=folder, environment=environment, timeout_s=task.timeout_s, pass_fds=numbers,
                stdout=said, stderr=said,
            )  # fmt: skip
        except subprocess.TimeoutExpired as problem:
            raise ModelError(
                f"{task.model.name} kept its loader busy for more than {task.timeout_s:.0f} s."
            ) from problem
        text = tail_of(said)
    refuse_unlocked(done.returncode, text)
    return done.returncode, text


def tail_of(said: IO[bytes]) -> str:
    """The end of what a loader said."""
    said.seek(max(said.seek(0, os.SEEK_END) - _SHOWN_BYTES, 0))
    return said.read().decode(errors="replace")


def refuse_unlocked(code: int, said: str) -> None:
    """Refuses to go on where a loader ended because it could not be locked in.

    Raises:
        MissingDependencyError: It did.
    """
    if code == locked_start.CANNOT_LOCK:
        raise MissingDependencyError(
            f"A model file is read by a process that is locked in; this kernel locks none: {said.strip()}.",
            "Use a Linux kernel with CONFIG_SECCOMP_FILTER.",
        )


def reason_of(code: int, said: str) -> str:
    """Why a loader ended without an answer, in a few words."""
    if code == -signal.SIGXCPU:
        return "it used up its processor time"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if code < 0:
        return f"it was ended by {signal.Signals(-code).name}"
    return lines[-1].rstrip(".")[:300] if lines else f"it ended with code {code}"


def locked_command(task: LoaderTask, descriptors: Iterable[str] = ()) -> list[str]:
    """What starts the task."""
    size = _size_of(task.model)
    limits = LoaderLimits(
        memory_bytes=_LEAST_MEMORY_BYTES + _MEMORY_PER_BYTE * size,
        file_bytes=_LEAST_FILE_BYTES + _FILE_PER_BYTE * size,
        cpu_s=int(task.timeout_s * (os.cpu_count() or 1)) + 1,
    )
    order = {
        "folders": import_folders() if task.python is None else [],
        "readable": [str(path.resolve()) for path in (task.model, *task.readable)],
        "limits": asdict(limits),
    }
    words = [json.dumps(order), task.what, *task.arguments, *descriptors]
    return script_command(_START, words, python=None if task.python is None else str(task.python))


def loader_environment(folder: str, changes: Mapping[str, str]) -> dict[str, str]:
    """The environment of a loader, whose home is its own folder."""
    kept = {
        name: value
        for name, value in child_environment().items()
        if name in _KEPT_NAMES or name.startswith(_KEPT_BEGINNINGS)
    }
    return {**kept, "HOME": folder, "TMPDIR": folder, "KERAS_HOME": folder, **changes}


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _size_of(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
