"""The first program of every Python child: takes the import path that its parent gives, then runs a module.

Usage: python -I .../python_start.py FOLDERS MODULE ARGUMENTS

A script, run by its path: with ``-I`` Python puts neither the working folder nor the script's own folder on
the path, and reads no ``PYTHON*`` variable. FOLDERS are parted by ``:`` and stand before what Python finds
itself.
"""

from __future__ import annotations

import os
import runpy
import sys


def main() -> None:
    """Runs the module as ``python -m`` would."""
    folders, module = sys.argv[1:3]
    given = [folder for folder in folders.split(os.pathsep) if folder]
    sys.path[:] = [*given, *(folder for folder in sys.path if folder not in given)]
    # The module's file takes the place of its name in argv, as with ``python -m``.
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
