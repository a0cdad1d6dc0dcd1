"""Starts every other process: Python children that do not trust the working folder, and programs.

``python -m MODULE`` puts the working folder first on the import path: a folder of downloads that holds
``edgepose/`` or ``selectors.py`` would run. A child of ours is isolated (``-I``), has a working folder of its
own and imports from the folders that this process imports from. tests/architecture finds every other way of
starting a process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

# No one but root can put anything there.
_NOWHERE = "/"
_PACKAGE = Path(__file__).resolve().parents[1]
_START = Path(__file__).with_name("python_start.py").resolve()
# Lists of folders, or of files for the loader, that programs read (environ(7), ld.so(8), GStreamer, XDG).
_LISTS = ("PATH", "_DIRS", "_PATH_1_0", "LD_PRELOAD")


def python_command(module: str, arguments: Iterable[str] = (), *, python: str | None = None) -> list[str]:
    """What starts a module in a Python that is isolated from the working folder.

    Args:
        module: Run as ``python -m`` would.
        arguments: Its arguments; paths among them are absolute, as its working folder is another one.
        python: Another interpreter, which runs a module of its own; None takes this one, and its imports.
    """
    if python is not None:
        return [python, "-I", "-m", module, *arguments]
    return script_command(_START, [os.pathsep.join(import_folders()), module, *arguments])


def script_command(script: Path, arguments: Iterable[str] = (), *, python: str | None = None) -> list[str]:
    """What starts a script in an isolated Python, which imports what that interpreter has."""
    # -I no longer takes this from the environment; it changes nothing of what is imported.
    flags = ["-B"] if sys.dont_write_bytecode else []
    return [python or sys.executable, "-I", *flags, str(script), *arguments]


def import_folders() -> list[str]:
    """The folders of this process's import path that a child may import from.

    What is relative, the working folder and the folder of the program are left out, unless edgepose itself
    lies there.
    """
    own = _PACKAGE.parent
    left_out = {_program_folder(), _working_folder()} - {own}
    kept = [entry for entry in sys.path if entry.startswith("/") and Path(entry).resolve() not in left_out]
    return kept if own in map(Path.resolve, map(Path, kept)) else [str(own), *kept]


def child_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what would lead a child into its working folder.

    Variables of Python are dropped; from lists of folders, what is empty or relative, which means the working
    folder.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    for name in [name for name in kept if name.endswith(_LISTS)]:
        kept[name] = _absolute_only(name, kept[name])
    return {**kept, **(changes or {})}


def start_python(
    module: str,
    arguments: Iterable[str] = (),
    *,
    cwd: str | Path = _NOWHERE,
    changes: Mapping[str, str] | None = None,
    **streams: Any,
) -> subprocess.Popen[bytes]:
    """Starts a module in an isolated Python: ``start_words`` of ``python_command``."""
    return start_words(python_command(module, arguments), cwd=cwd, changes=changes, **streams)


def run_python(
    module: str,
    arguments: Iterable[str] = (),
    *,
    python: str | None = None,
    timeout_s: float | None = None,
    changes: Mapping[str, str] | None = None,
    **streams: Any,
) -> subprocess.CompletedProcess[str]:
    """Runs a module in an isolated Python to its end: ``run_words`` of ``python_command``."""
    words = python_command(module, arguments, python=python)
    return run_words(words, timeout_s=timeout_s, changes=changes, **streams)


def find_program(name: str) -> str | None:
    """Where a program is; folders of ``PATH`` that are relative are not looked at."""
    found = shutil.which(name, path=_absolute_only("PATH", os.environ.get("PATH", os.defpath)))
    return None if found is None else str(Path(found).absolute())


def run_words(
    words: Sequence[str | Path],
    *,
    cwd: str | Path = _NOWHERE,
    timeout_s: float | None = None,
    changes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    **streams: Any,
) -> subprocess.CompletedProcess[str]:
    """As ``start_words``, to the program's end; takes what it says, and gives it nothing to read.

    Args:
        words: Program and arguments; paths among them are absolute.
        cwd: Its working folder: the root, or a private one.
        timeout_s: It is killed after this long.
        changes: Changes to the environment.
        environment: The whole environment instead.
        streams: More options of ``subprocess.run``.

    Raises:
        OSError: It cannot be started.
        subprocess.TimeoutExpired: It took too long.
    """
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    streams |= {"text": True, "errors": "replace", "timeout": timeout_s}
    return subprocess.run(check=False, **_start(words, cwd, changes, environment), **streams)


def start_words(
    words: Sequence[str | Path],
    *,
    cwd: str | Path = _NOWHERE,
    changes: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    **streams: Any,
) -> subprocess.Popen[bytes]:
    """Starts a program of the system, or what ``python_command`` gave.

    Args:
        words: Program and arguments; paths among them are absolute.
        cwd: Its working folder: the root, or a private one.
        changes: Changes to the environment.
        environment: The whole environment instead.
        streams: Options of ``subprocess.Popen`` about streams, descriptors and sessions.
    """
    return subprocess.Popen(**_start(words, cwd, changes, environment), **streams)


def _start(
    words: Sequence[str | Path],
    cwd: str | Path,
    changes: Mapping[str, str] | None,
    environment: Mapping[str, str] | None,
) -> dict[str, Any]:
    """What every start has in common."""
    whole = child_environment(changes) if environment is None else environment
    return {"args": [str(word) for word in words], "cwd": cwd, "env": whole}


def _program_folder() -> Path | None:
    """Where the program that was typed lies; None where its name is relative to a folder that is gone."""
    try:
        return Path(sys.argv[0]).parent.resolve() if sys.argv else None
    except OSError:
        return None


def _working_folder() -> Path | None:
    try:
        return Path.cwd().resolve()
    except FileNotFoundError:
        # It was removed; nothing can be imported from there.
        return None


def _absolute_only(name: str, value: str) -> str:
    if name == "LD_PRELOAD":
        # Parted by spaces or colons; a name without a slash is looked for in the loader's own folders.
        words = value.replace(":", " ").split()
        return " ".join(word for word in words if word.startswith("/") or "/" not in word)
    return os.pathsep.join(entry for entry in value.split(os.pathsep) if entry.startswith("/"))
