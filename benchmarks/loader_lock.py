"""What does it cost that a foreign Keras file is read by a process that is locked in?

Runs ``edgepose models inspect FILE`` in pairs, each time as a new process: as it ships, and with the same
loader started without its lock (no seccomp, no Landlock, no limits). Which side goes first changes from pair
to pair. The ratios are medians over pairs: of the wall clock, which other work on the machine disturbs, and
of the processor time of the command and its loader together.

Usage: python benchmarks/loader_lock.py MODEL.keras
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

from edgepose import __version__
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "loader_lock.json"
# The command itself; the control replaces what starts the loader by what starts any other child.
_SHIPPED = "import sys; from edgepose.cli.main import main; main()"
_UNLOCKED = """
from edgepose.host.models import locked_loader
from edgepose.sandbox.python_child import python_command
locked_loader.locked_command = lambda task, numbers: python_command(task.what, [*task.arguments, *numbers])
"""


def main() -> None:
    """Measures, prints and writes the result."""
    arguments = _arguments()
    sides = {"locked": _SHIPPED, "unlocked": _UNLOCKED + _SHIPPED}
    pairs: list[dict[str, tuple[float, float]]] = []
    # The first pair warms the page cache.
    for number in range(arguments.pairs + 1):
        order = list(sides) if number % 2 else list(reversed(sides))
        pairs.append({side: _run(sides[side], arguments.model) for side in order})
    del pairs[0]
    result = {
        "schema": "edgepose.comparison/1",
        "name": "loader_lock",
        "same_work": "edgepose models inspect FILE.keras as a process of its own, files in the page cache",
        **{side: _figures([pair[side] for pair in pairs]) for side in sides},
        "ratios": {
            "wall": statistics.median(pair["locked"][0] / pair["unlocked"][0] for pair in pairs),
            "processor_time": statistics.median(pair["locked"][1] / pair["unlocked"][1] for pair in pairs),
        },
        "command": f"python benchmarks/loader_lock.py {arguments.model.name} --pairs {arguments.pairs}",
        "load_average": os.getloadavg()[0],
        "versions": {
            "edgepose": __version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
            "kernel": platform.release(),
            "cpus": os.cpu_count(),
        },
        "model_sha256": sha256_of_path(arguments.model),
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULT)
    return parser.parse_args()


def _figures(samples: list[tuple[float, float]]) -> dict[str, float]:
    return {
        "wall_s": statistics.median(wall for wall, _ in samples),
        "processor_s": statistics.median(used for _, used in samples),
        "runs": len(samples),
    }


def _run(code: str, model: Path) -> tuple[float, float]:
    """Seconds on the wall clock, and of processor time of the command and what it waited for."""
    start_ns = time.monotonic_ns()
    words = [sys.executable, "-c", code, "models", "inspect", str(model), "--json", "-"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"edgepose models inspect ended with code {process.returncode}.")
    return (time.monotonic_ns() - start_ns) / 1e9, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
