"""Does the memory of a service stay flat from frame 1,000 to frame 100,000?

A video goes round and round, through the real service of an installed model: supervisor and capture process,
shared pictures, models, tracking, telemetry, drift, the socket stream. Somebody reads the stream and looks at
the memory of all processes of the service together (PSS: a shared page counts once) each 1,000 frames. The
picture rate is what the machine can do, so an hour of a camera passes in minutes.

Usage: python benchmarks/endurance.py ROOT VIDEO [--frames 100000]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
from process_memory import family, pss_mib

from edgepose import __version__
from edgepose.device.install.installed import read_status

RESULT = Path(__file__).resolve().parent / "results" / "endurance.json"
_FIRST = 1000
_EVERY = 1000
_BEYOND = 3000
_BUDGET_MIB = 5.0
Seen = list[tuple[int, dict[str, float]]]


def write_rounds(video: Path, frames: int, target: Path) -> None:
    """A video of so many frames, made of a short one."""
    pictures, source = [], cv2.VideoCapture(str(video))
    while (read := source.read())[0]:
        pictures.append(cv2.resize(read[1], (320, 240), interpolation=cv2.INTER_AREA))
    writer = cv2.VideoWriter(str(target), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 30.0, (320, 240))
    for index in range(frames):
        writer.write(pictures[index % len(pictures)])
    writer.release()


def memory_mib(process_id: int) -> dict[str, float]:
    """PSS of each process of the service; those of one module together."""
    found: dict[str, float] = {}
    for member in family(process_id):
        words = Path(f"/proc/{member}/cmdline").read_text().split("\0")
        module = next((word for word in words if word.startswith("edgepose.")), str(member))
        name = module.rpartition(".")[2]
        found[name] = found.get(name, 0.0) + pss_mib(member)
    return found


def frame_numbers(path: Path) -> Iterator[int]:
    """Of the lines in the stream, as they come."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(path))
        lines = connection.makefile("rb")
        for line in lines:
            if (found := re.search(rb'"frame":(\d+)', line)) is not None:
                yield int(found[1])


def watched(root: Path, clip: Path, folder: Path, frames: int) -> Seen:
    """Frame, and MiB of each process."""
    path = folder / "poses.sock"
    program = [sys.executable, "-m", "edgepose.cli.device_main", "service", clip, "--root", root]
    program += ["--socket", path]
    seen: Seen = []
    with subprocess.Popen([str(word) for word in program]) as service:
        while not path.exists():
            if service.poll() is not None:
                raise SystemExit("the service ended")
            time.sleep(0.01)
        due = _FIRST
        for number in frame_numbers(path):
            if number + 1 >= due:
                seen.append((number + 1, memory_mib(service.pid)))
                due += _EVERY
            if number + 1 >= frames:
                break
        service.terminate()
    return seen


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("root", type=Path, help="device root with an installed model")
    parser.add_argument("video", type=Path)
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copytree(arguments.root, folder / "root", symlinks=True)
        # What is read ahead of the last frame must not be the end, at which processes leave.
        write_rounds(arguments.video, arguments.frames + _BEYOND, folder / "rounds.mp4")
        start_s = time.monotonic()
        seen = watched(folder / "root", folder / "rounds.mp4", folder, arguments.frames)
        seconds = time.monotonic() - start_s
    result = _result(arguments, seen, seconds)
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


def _result(arguments: argparse.Namespace, seen: Seen, seconds: float) -> dict[str, Any]:
    together = [(number, sum(mib.values())) for number, mib in seen]
    first, last, most = together[0][1], together[-1][1], max(mib for _, mib in together)
    return {
        "schema": "edgepose.endurance/1",
        "question": "Does the memory of a service stay flat?",
        "edgepose": __version__,
        "frames": [seen[0][0], seen[-1][0]],
        "memory_mib": {
            "first": round(first, 2),
            "last": round(last, 2),
            "most": round(most, 2),
            "growth_first_to_last": round(last - first, 2),
            "growth_first_to_most": round(most - first, 2),
            "budget": _BUDGET_MIB,
        },
        "processes_mib": {
            name: [round(mib, 2), round(seen[-1][1].get(name, 0.0), 2)] for name, mib in seen[0][1].items()
        },
        "every_10_000_frames": [[number, round(mib, 2)] for number, mib in together[::10]],
        "seconds": round(seconds, 1),
        "command": f"python benchmarks/endurance.py ROOT {arguments.video.name} --frames {arguments.frames}",
        "versions": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "cpus": os.cpu_count(),
            "opencv": cv2.__version__,
        },
        "model_sha256": read_status(arguments.root).model_sha256,
    }


if __name__ == "__main__":
    main()
