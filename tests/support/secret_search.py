"""Searches what a program leaves behind for a secret: output, files, its processes as others see them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import PROJECT

# include/linux/sched.h: forked, and has not become another program yet.
_PF_FORKNOEXEC = 0x40


@dataclass
class Watched:
    """What was seen of a program.

    Attributes:
        code: Its exit code.
        output: Standard output and standard error.
        processes: Command line and environment of each process below it, as it was seen last.
        own: Its own command line, as it was seen last.
        folder: Where everything that it wrote lies.
    """

    code: int
    output: bytes
    folder: Path
    own: bytes = b""
    processes: dict[int, bytes] = field(default_factory=dict)

    def places_of(self, secret: bytes) -> set[str]:
        """Where the secret stands."""
        found = {"output"} if secret in self.output else set()
        found |= {"process list"} if secret in self.own else set()
        found |= {f"child {pid}" for pid, text in self.processes.items() if secret in text}
        for path in self.folder.rglob("*"):
            if path.is_file() and secret in path.read_bytes():
                found.add(path.relative_to(self.folder).as_posix())
        return found


def watch(folder: Path, command: list[str], stdin: bytes = b"", **environment: str) -> Watched:
    """Runs a program to its end; home, temporary files and working folder lie in the folder."""
    for name in ("home", "tmp", "work"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    surroundings = {
        **{name: value for name, value in os.environ.items() if not name.startswith("XDG_")},
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "PYTHONPATH": str(PROJECT),
        **environment,
    }
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder / "work",
        env=surroundings,
    )
    found = Watched(-1, b"", folder)
    ended = threading.Event()
    watcher = threading.Thread(target=_look, args=(process.pid, found, ended))
    watcher.start()
    try:
        found.output = process.communicate(stdin, timeout=120)[0]
    finally:
        process.kill()
        process.wait()
        ended.set()
        watcher.join()
    found.code = process.returncode
    return found


def watch_edgepose(folder: Path, *arguments: str, stdin: bytes = b"", program: str = "edgepose") -> Watched:
    """The same for ``edgepose``, or ``edgepose.cli.device_main``."""
    return watch(folder, [sys.executable, "-m", program, *arguments], stdin)


def _look(pid: int, found: Watched, ended: threading.Event) -> None:
    while not ended.is_set():
        with suppress(OSError):
            # While a program is replaced it has no command line.
            found.own = Path(f"/proc/{pid}/cmdline").read_bytes() or found.own
        for child in _descendants(pid):
            with suppress(OSError):
                if _is_becoming_another(child, pid):
                    continue
                text = (
                    Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
                )
                found.processes[child] = found.processes.get(child, b"") + text
        time.sleep(0.01)


def _is_becoming_another(child: int, program: int) -> bool:
    """Between fork and exec a child of the program still shows the program's own command line."""
    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]) == program and bool(int(fields[6]) & _PF_FORKNOEXEC)


def _descendants(pid: int) -> list[int]:
    found = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found
