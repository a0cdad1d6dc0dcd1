"""``python -m edgepose.device.drift.hook_process COMMAND``: runs a user's command for each event of drift.

A process of its own, started before a run is locked in: that one can start no program any more. What the
command gets on its standard input is the event, which holds a feature's name and its size.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys

_COMMAND_LIMIT_S = 60.0


def main(command: str) -> int:
    """Runs the command once a line, until the lines end."""
    # The end of the run ends this; a signal to the whole group must not come before that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _say({"place": command})
    for line in sys.stdin.buffer:
        _run(command, line)
    _say({"readers": 0, "dropped": 0})
    return 0


def _run(command: str, line: bytes) -> None:
    try:
        # A shell, because the user wrote a shell's command; nothing of an event becomes part of it.
        done = subprocess.run(  # noqa: S602
            command, shell=True, input=line, stdout=subprocess.DEVNULL, check=False, timeout=_COMMAND_LIMIT_S
        )
    except subprocess.TimeoutExpired:
        sys.stderr.write(f"The drift hook did not end within {_COMMAND_LIMIT_S:.0f} s: {command}\n")
        return
    if done.returncode:
        sys.stderr.write(f"The drift hook ended with exit code {done.returncode}: {command}\n")


def _say(words: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
