"""Installs a tool's environment from its lock file: exact versions, hashes checked, wheels only.

Which tools there are and where their environments live.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.sandbox.python_child import find_program, python_command
from edgepose.trust.digests import sha256_of_file

_LOCKS = Path(__file__).parent
# Written last, so that an installation that broke off is never taken for a good one.
STAMP_NAME = "edgepose-lock-sha256"


@dataclass(frozen=True)
class Tool:
    """A tool with its own environment.

    Attributes:
        name: What ``edgepose tools install`` takes.
        lock: Requirements with exact versions and hashes.
        pythons: Python versions that the pins work with.
    """

    name: str
    lock: Path
    pythons: tuple[tuple[int, int], ...]


TOOLS = {
    "onnx2tf": Tool("onnx2tf", _LOCKS / "onnx2tf-1.29.24.lock.txt", ((3, 11), (3, 12))),
}


def find_tool(name: str) -> Tool:
    """Returns a tool.

    Raises:
        ConfigError: There is no such tool.
    """
    if name not in TOOLS:
        raise ConfigError(f"There is no tool '{name}'; expected one of {', '.join(TOOLS)}.")
    return TOOLS[name]


def tool_folder(tool: Tool) -> Path:
    """Where its environment lives: ``EDGEPOSE_TOOLS_DIR``, else the user's cache folder."""
    chosen = os.environ.get("EDGEPOSE_TOOLS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # What is started from there has another working folder.
    return ((Path(chosen) if chosen else cache / "edgepose" / "tools") / tool.name).absolute()


def is_current(tool: Tool) -> bool:
    """Whether its environment is complete and made from this very lock file."""
    stamp = tool_folder(tool) / STAMP_NAME
    return stamp.is_file() and stamp.read_text(encoding="ascii").strip() == sha256_of_file(tool.lock)


def tool_python(name: str) -> Path:
    """The Python of a tool's environment.

    Raises:
        ConfigError: There is no such tool.
        MissingDependencyError: It is not installed, or from an older lock file.
    """
    tool = find_tool(name)
    if not is_current(tool):
        raise MissingDependencyError(
            f"{name} is not prepared in {tool_folder(tool)}.", f"Run: edgepose tools install {name}"
        )
    return tool_folder(tool) / "bin" / "python"


Progress = Callable[[int, int], None]
# pip is silent while it fetches a wheel of several hundred MiB, and while it unpacks it.
_LIMITS = AnswerLimits(bytes=16 * MIB, silence_s=3600.0)
_KEPT_LINES, _LINE_CHARACTERS = 1000, 1000


def install_tool(name: str, progress: Progress = lambda _done, _total: None) -> Path:
    """Makes the environment; does nothing when it is current.

    Returns:
        The environment's folder.

    Raises:
        ConfigError: There is no such tool, or this Python or folder is of no use for it.
        MissingDependencyError: The packages could not be installed.
    """
    tool = find_tool(name)
    folder = tool_folder(tool)
    with _one_at_a_time(folder):
        if not is_current(tool):
            _install(tool, folder, progress)
    return folder


def _install(tool: Tool, folder: Path, progress: Progress) -> None:
    python = _python_for(tool)
    shutil.rmtree(folder, ignore_errors=True)
    _run([*_module(python, "venv"), str(folder)], f"make a virtual environment in {folder}")
    environment_python = str(folder / "bin" / "python")
    total = sum(1 for line in tool.lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    command = [
        *_module(environment_python, "pip"), "install", "--disable-pip-version-check", "--no-input",
        "--no-deps", "--require-hashes", "--only-binary=:all:",
        "--requirement", str(tool.lock.absolute()),
    ]  # fmt: skip
    _run_counting(command, total, progress, f"install {tool.name} from its lock file")
    _run(
        [environment_python, "-I", "-c", f"import {tool.name}"], f"import {tool.name} in its new environment"
    )
    (folder / STAMP_NAME).write_text(sha256_of_file(tool.lock) + "\n", encoding="ascii")


def _python_for(tool: Tool) -> str:
    """This Python where the pins allow it, else a fitting one on PATH."""
    if sys.version_info[:2] in tool.pythons:
        return sys.executable
    for major, minor in tool.pythons:
        found = find_program(f"python{major}.{minor}")
        if found:
            return found
    wanted = " or ".join(f"{major}.{minor}" for major, minor in tool.pythons)
    raise ConfigError(
        f"{tool.name}'s pins need Python {wanted}; this is {sys.version_info[0]}.{sys.version_info[1]} and "
        "no other is on PATH.",
        f"Install Python {wanted} and call again.",
    )


@contextmanager
def _one_at_a_time(folder: Path) -> Iterator[None]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = folder.with_name(f".{folder.name}.lock").open("w")
    except OSError as problem:
        raise ConfigError(
            f"Cannot write {folder.parent}: {problem.strerror}.", "Set EDGEPOSE_TOOLS_DIR to another folder."
        ) from problem
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _module(python: str, module: str) -> list[str]:
    return python_command(module, python=python)


def _run(command: list[str], what: str) -> None:
    done = run_bounded(BoundedCall(command, command[0], _LIMITS, error=MissingDependencyError))
    if done.code:
        raise _failed(what, done.stdout.decode(errors="replace") + done.stderr)


def _run_counting(command: list[str], total: int, progress: Progress, what: str) -> None:
    """Runs pip and counts the packages that it has fetched; installing them takes the last part."""
    # The end of a line, and the newest lines: an index may have pip print without end.
    rest, fetched = "", 0
    newest: deque[str] = deque(maxlen=_KEPT_LINES)

    def take(piece: bytes) -> None:
        nonlocal rest, fetched
        *lines, rest = (rest + piece.decode(errors="replace")).split("\n")
        rest = rest[-_LINE_CHARACTERS:]
        newest.extend(line[:_LINE_CHARACTERS] for line in lines)
        fetched += sum(line.startswith("Collecting ") for line in lines)
        progress(min(fetched, total - 1), total)

    done = run_bounded(BoundedCall(command, "pip", _LIMITS, on_output=take, error=MissingDependencyError))
    if done.code:
        raise _failed(what, "\n".join([*newest, rest, done.stderr]))
    progress(total, total)


def _failed(what: str, output: str) -> MissingDependencyError:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")] or lines or ["no output"]
    return MissingDependencyError(
        f"Could not {what}: {errors[-1][:300]}.", "Check the network or the package index, and call again."
    )
