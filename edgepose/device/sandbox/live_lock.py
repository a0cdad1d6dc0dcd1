"""Whether a run is locked in: live pictures always, files that somebody has anyway never."""

from __future__ import annotations

from collections.abc import Callable

from edgepose.device.capture.source_address import parse_source
from edgepose.device.sandbox.lock import lock_process
from edgepose.errors import DeviceError
from edgepose.spec.device_status import SandboxReport


def live_lock(
    source: str, say: Callable[[str], None], *, unlocked: bool
) -> Callable[[], SandboxReport] | None:
    """What a run calls before its first frame.

    Args:
        source: SOURCE as typed.
        say: Takes a line for people where the kernel refuses and that is allowed.
        unlocked: Whether the run may go on unlocked.

    Returns:
        None for files.

    Raises:
        ConfigError: SOURCE is none.
    """
    if parse_source(source).kind == "path":
        return None
    return lambda: lock_or_say(frozenset(), say, unlocked=unlocked)


def lock_or_say(kept_sockets: frozenset[int], say: Callable[[str], None], *, unlocked: bool) -> SandboxReport:
    """Locks this process in, or says that it is not.

    Args:
        kept_sockets: See :func:`edgepose.device.sandbox.lock.lock_process`.
        say: Takes a line for people.
        unlocked: Whether going on unlocked is allowed.

    Raises:
        DeviceError: The kernel does not lock it in, and that is not allowed.
    """
    try:
        return lock_process(kept_sockets)
    except DeviceError as problem:
        if not unlocked:
            raise
        say(f"Running without the lock, as --allow-unlocked permits: {problem.message}")
        return SandboxReport(enforced=False, mechanisms=())
