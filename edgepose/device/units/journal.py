"""What the service wrote into systemd's journal."""

from __future__ import annotations

import subprocess

from edgepose.device.units.service_unit import UNIT_NAME
from edgepose.sandbox.python_child import find_program, run_words

_TIMEOUT_S = 30


def service_lines(count: int) -> tuple[str, ...] | None:
    """The newest lines, oldest first; None where there is no journal that this user may read.

    Args:
        count: How many.
    """
    program = find_program("journalctl")
    if program is None:
        return None
    call = [program, "--unit", UNIT_NAME, "--lines", str(count), "--no-pager", "--output", "short-iso"]
    try:
        done = run_words(call, timeout_s=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    return tuple(line for line in done.stdout.splitlines() if not line.startswith("-- "))
