"""The process that is locked as the runtime is and then tries to get out; its answers go through a pipe."""

from __future__ import annotations

import argparse
import json
import os

from edgepose.device.sandbox.lock import lock_process
from edgepose.device.sandbox.ways_out import Escape, Surroundings
from edgepose.errors import DeviceError


def main() -> None:
    """Locks itself, tries each way, writes a row for each."""
    parser = argparse.ArgumentParser()
    for name in ("port", "channel", "checker", "address", "answers"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--without-sandbox", action="store_true")
    parser.add_argument("--only-lock", action="store_true")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    escape = Escape(Surroundings(given.port, given.channel, given.checker, given.address))
    try:
        if not given.without_sandbox:
            lock_process(frozenset({given.channel}))
    except DeviceError as problem:
        rows.append({"way": "lock", "refused": False, "how": problem.message})
        _answer(given.answers, rows)
        return
    for name, act in ({} if given.only_lock else escape.ways()).items():
        try:
            rows.append({"way": name, "refused": False, "how": act()})
        except OSError as problem:
            rows.append({"way": name, "refused": True, "how": str(problem)})
    _answer(given.answers, rows)


def _answer(descriptor: int, rows: list[dict[str, object]]) -> None:
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump(rows, stream)
    # A locked process cannot wait for what it must not make; nothing is left to do.
    os._exit(0)


if __name__ == "__main__":
    main()
