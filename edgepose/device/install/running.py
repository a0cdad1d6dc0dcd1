"""What the running service says about itself, for ``status``."""

from __future__ import annotations

import os
from pathlib import Path

from edgepose.device.install.layout import Layout
from edgepose.device.install.var_folder import make_var, read_of_service
from edgepose.errors import EdgeposeError
from edgepose.spec.device_status import SandboxReport
from edgepose.spec.records import Record, from_json, to_json
from edgepose.spec.whole_file import READABLE, write_whole

_NAME = "running.json"


class RunningService(Record, frozen=True, kw_only=True):
    """The process that runs.

    Attributes:
        pid: Its number.
        started: When the kernel started it, in ticks since boot: a number is used again, both are not.
        sandbox: What keeps it from the network.
    """

    pid: int
    started: str
    sandbox: SandboxReport


def note_running(root: Path, sandbox: SandboxReport) -> None:
    """Notes this process as the one that runs.

    Raises:
        EdgeposeError: The file cannot be written.
    """
    pid = os.getpid()
    running = RunningService(pid=pid, started=_started(pid) or "", sandbox=sandbox)
    # ``status`` is asked by other users too; it holds no secret.
    write_whole(make_var(root) / _NAME, [to_json(running).encode()], READABLE)


def running_sandbox(root: Path) -> SandboxReport:
    """What keeps the running service from the network; nothing where none runs."""
    nothing = SandboxReport(enforced=False, mechanisms=())
    path = Layout(root).var / _NAME
    content = read_of_service(path)
    if content is None:
        return nothing
    try:
        running = from_json(content, RunningService, str(path))
    except EdgeposeError:
        return nothing
    return running.sandbox if running.started and _started(running.pid) == running.started else nothing


def _started(pid: int) -> str | None:
    """Field 22 of proc(5)'s stat; the name before it may hold spaces and brackets."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()[19]
