"""The process that is locked as the runtime is and then tries to get out; its answers go through a pipe."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import NoReturn

from edgepose.device.sandbox.held_things import HeldThings, tried
from edgepose.device.sandbox.lock import lock_process
from edgepose.device.sandbox.ways_out import Escape, Surroundings
from edgepose.errors import DeviceError
from edgepose.spec.device_status import SandboxReport

# In which it may write, as a service may in its root.
OWN_FOLDER = "own"
NUMBERS = (
    "port", "channel", "checker", "address", "pipe", "answers", "connection", "pair", "master", "memory",
    "process",
)  # fmt: skip


def main() -> None:
    """Tries what a child with something inherited can do, locks itself, tries the rest; a row for each."""
    parser = argparse.ArgumentParser()
    for name in NUMBERS:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--terminal", required=True)
    parser.add_argument("--without-sandbox", action="store_true")
    given = parser.parse_args()
    sandbox = not given.without_sandbox
    held = HeldThings(
        given.connection, given.pair, given.master, given.memory, given.process, given.terminal,
        given.address, given.channel,
    )  # fmt: skip
    # Before there is a second thread: a fork keeps only one.
    rows = [tried(name, hold, sandbox=sandbox) for name, hold in held.ways().items()]
    held.close()
    around = Surroundings(given.port, given.channel, given.checker, given.address, given.pipe, given.folder)
    escape = Escape(around)
    lock = SandboxReport(enforced=False, mechanisms=())
    try:
        if sandbox:
            lock = lock_process(frozenset({given.channel}), writable=(given.folder / OWN_FOLDER,))
    except DeviceError as problem:
        _answer(given.answers, rows, lock, problem.message)
    for name, act in escape.ways().items():
        try:
            rows.append({"way": name, "refused": False, "how": act()})
        except OSError as problem:
            rows.append({"way": name, "refused": True, "how": str(problem)})
    _answer(given.answers, rows, lock)


def _answer(
    descriptor: int, rows: list[dict[str, object]], lock: SandboxReport, problem: str = ""
) -> NoReturn:
    answer = {
        "rows": rows,
        "mechanisms": lock.mechanisms,
        "not_guaranteed": lock.not_guaranteed,
        "problem": problem,
    }
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(answer, stream)
    # A locked process cannot wait for what it must not make; nothing is left to do.
    os._exit(0)


if __name__ == "__main__":
    main()
