"""The first program of a locked loader: locks the process in, then runs a module or a script.

Usage: python -I .../locked_start.py ORDER WHAT ARGUMENTS

A script, run by its path, also by the interpreter of a tool's environment, which has no edgepose. ORDER is
JSON: ``folders`` of the import path (none: the interpreter's own), ``readable`` paths, and the limits. The
working folder is the loader's own. WHAT is a module, or a script where it begins with a slash.
"""

from __future__ import annotations

import json
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

# sysexits.h: EX_UNAVAILABLE. What follows on standard error says why.
CANNOT_LOCK = 69


def main() -> None:
    """Locks and runs."""
    order, what = json.loads(sys.argv[1]), sys.argv[2]
    folders = [str(folder) for folder in order["folders"]]
    sys.path[:] = [*folders, *(folder for folder in sys.path if folder not in folders)]
    _lock(order)
    del sys.argv[1:3]
    # Python looks for a folder for temporary files by writing into each; only one can be written to.
    tempfile.tempdir = str(Path.cwd())
    if what.startswith("/"):
        sys.argv[0] = what
        runpy.run_path(what, run_name="__main__")
    else:
        runpy.run_module(what, run_name="__main__", alter_sys=True)


def _lock(order: dict[str, Any]) -> None:
    # What is imported from here stays loaded; the import path is the loader's own again.
    package = str(Path(__file__).resolve().parents[2])
    sys.path.insert(0, package)
    from edgepose.sandbox.loader_lock import LoaderLimits, lock_loader

    sys.path.remove(package)
    try:
        limits = LoaderLimits(**order["limits"])
        lock_loader(Path.cwd(), map(Path, order["readable"]), limits, landlock=order.get("landlock", True))
    except (OSError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        sys.exit(CANNOT_LOCK)


if __name__ == "__main__":
    main()
