"""A stand-in for ssh that plays a hostile device: first on PATH, it answers whatever a test wants."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

PROBE: dict[str, Any] = {
    "schema": "edgepose.probe/1",
    "arch": "aarch64",
    "os": "linux",
    "kernel": "6.1",
    "glibc": "2.36",
    "libstdcxx": True,
    "pythons": [{"path": "/usr/bin/python3.11", "version": "3.11"}],
    "cpu_cores": 4,
    "memory_mib": 8000,
    "disk_free_mib": 90_000,
    "board": "Raspberry Pi 5 Model B",
    "cameras": [],
    "accelerators": [],
    "systemd": False,
    "user": "pi",
    "base": "/home/pi",
    "root_exists": True,
    "runtimes": [],
}
_SSH = """#!{python} -I
import json, pathlib, sys, time
folder = pathlib.Path({folder!r})
with (folder / "calls").open("a") as stream:
    stream.write(json.dumps(sys.argv[1:]) + "\\n")
words = " ".join(sys.argv[1:])
if "-O exit" in words:
    sys.exit(0)
is_probe = "edgepose.probe/1" in words
if not is_probe and "--camera-file -" in words:
    (folder / "stdin").write_text(sys.stdin.read())
{answer}
"""


def hostile_ssh(folder: Path, answer: str, probe: dict[str, Any] | None = None) -> Path:
    """Writes the stand-in.

    Args:
        folder: Of its own.
        answer: Python that answers what follows the probe, or everything where ``probe`` is None.
        probe: What it says of itself.

    Returns:
        The folder for PATH.
    """
    programs = folder / "bin"
    programs.mkdir(parents=True)
    if probe is not None:
        answer = f"if is_probe:\n    print({json.dumps(probe)!r})\n    sys.exit(0)\n{answer}"
    path = programs / "ssh"
    path.write_text(_SSH.format(python=sys.executable, folder=str(folder), answer=answer))
    path.chmod(0o755)
    return programs
