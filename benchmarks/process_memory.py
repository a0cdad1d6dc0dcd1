"""The memory of a program with all its processes: PSS, by which a page that several share counts once."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

# A look costs about a millisecond of the program's own time, so nothing is timed while it is watched.
_LOOK_EVERY_S = 0.004


def family(process_id: int) -> Iterator[int]:
    """A process and all that came from it."""
    yield process_id
    for task in Path(f"/proc/{process_id}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from family(int(child))


def pss_mib(process_id: int) -> float:
    """Proportional set size of one process in MiB."""
    rollup = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    kib = re.search(r"^Pss:\s+(\d+) kB$", rollup, re.MULTILINE)
    return int(kib[1]) / 1024 if kib else 0.0


def peak_pss_mib(command: Sequence[str]) -> tuple[float, int]:
    """Runs a program to its end: the most that all its processes had together, and how many these were.

    Raises:
        SystemExit: The program failed.
    """
    most = (0.0, 0)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, _together(process.pid))
            time.sleep(_LOOK_EVERY_S)
    if process.returncode:
        raise SystemExit(f"failed with {process.returncode}: {' '.join(command)}")
    return most


def _together(process_id: int) -> tuple[float, int]:
    try:
        sizes = [pss_mib(member) for member in family(process_id)]
    except (FileNotFoundError, ProcessLookupError):
        # One of them ended meanwhile: this look says nothing.
        return 0.0, 0
    return sum(sizes), len(sizes)
