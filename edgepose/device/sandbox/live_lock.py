"""Whether a run is locked in: live pictures always, files that somebody has anyway never."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.sandbox.lock import lock_process
from edgepose.errors import DeviceError
from edgepose.spec.device_status import SandboxReport


def live_lock(
    source: str | SourceAddress, say: Callable[[str], None], *, unlocked: bool, writable: Iterable[Path] = ()
) -> Callable[[], SandboxReport] | None:
    """What a run calls before its first frame.

    Args:
        source: SOURCE as typed.
        say: Takes a line for people where the kernel refuses and that is allowed.
        unlocked: Whether the run may go on unlocked.
        writable: Folders in which the run still makes files.

    Returns:
        None for files.

    Raises:
        ConfigError: SOURCE is none.
    """
    address = parse_source(source)
    if address.kind == "path":
        return None
    folders = (*writable, *folders_of_source(address))
    return lambda: lock_or_say(frozenset(), say, unlocked=unlocked, writable=folders)


def folders_of_source(address: SourceAddress) -> tuple[Path, ...]:
    """Where a camera in another unit is met again when that one was started again: by named pipes."""
    return (Path(address.location),) if address.kind == "shared" else ()


def folders_of_outputs(outputs: Iterable[Path | str | None]) -> tuple[Path, ...]:
    """The folders of files that are made or finished after the lock; ``-`` is standard output.

    Args:
        outputs: The files; None is none.
    """
    files = [Path(output) for output in outputs if output is not None and str(output) != "-"]
    return tuple(dict.fromkeys(file.absolute().parent for file in files))


def lock_or_say(
    kept_sockets: frozenset[int],
    say: Callable[[str], None],
    *,
    unlocked: bool,
    writable: tuple[Path, ...] = (),
) -> SandboxReport:
    """Locks this process in, or says that it is not.

    Args:
        kept_sockets: See :func:`edgepose.device.sandbox.lock.lock_process`.
        say: Takes a line for people.
        unlocked: Whether going on unlocked is allowed.
        writable: Folders in which this process still makes files.

    Raises:
        DeviceError: The kernel does not lock it in, and that is not allowed.
    """
    try:
        return lock_process(kept_sockets, writable=writable)
    except DeviceError as problem:
        if not unlocked:
            raise
        say(f"Running without the lock, as --allow-unlocked permits: {problem.message}")
        return SandboxReport(enforced=False, mechanisms=())
