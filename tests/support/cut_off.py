"""Ends a child process at a named moment, as a power cut would."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from edgepose.device.install.installer import Hooks
from edgepose.records.device_status import HealthReport

HEALTHY = HealthReport(passed=True, failures=(), verified_on="host", accelerator="not_verified")
SICK = HealthReport(passed=False, failures=("sick",), verified_on="host", accelerator="not_verified")

Act = Callable[[Hooks], object]


def always(report: HealthReport) -> Callable[[Path, str], HealthReport]:
    """A health check whose outcome is known."""
    return lambda _folder, _digest: report


def moments_of(act: Act, health: HealthReport = HEALTHY) -> list[str]:
    """The moments that an action passes, in order; the action is carried out."""
    seen: list[str] = []
    act(Hooks(seen.append, always(health)))
    return seen


def killed_at(moment: int, act: Act, health: HealthReport = HEALTHY) -> bool:
    """Carries out an action in a child process that is killed at its n-th moment.

    Returns:
        Whether it was killed; False when the action ended before.
    """
    child = os.fork()
    if child == 0:
        count = -1

        def reach(_name: str) -> None:
            nonlocal count
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

        # Whatever happens, the child must not go on as a second test run.
        try:
            act(Hooks(reach, always(health)))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)
