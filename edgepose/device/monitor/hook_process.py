"""``python -m edgepose.device.monitor.hook_process COMMAND ROOT``: a user's command for each event of drift.

A process of its own, started before a run is locked in: that one can start no program any more.

The command gets the event on its standard input: a feature's name and its size. It has a folder of its own,
ROOT/var/drift/hook (mode 0700), as working folder and as HOME; five variables, no other descriptor, and at
most a minute. It runs with the rights of who runs the service: in the systemd unit those of the unit.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from edgepose.device.install.layout import Layout

_COMMAND_LIMIT_S = 60.0
# Of what a command says on its standard error so much is passed on; the rest is read and forgotten.
_SAID_BYTES = 2000
_LONGEST_EVENT_BYTES = 1 << 16
# As systemd's own default (systemd.exec(5)); nothing that a user may write to.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def main(command: str, root: Path) -> int:
    """Runs the command once a line, until the lines end."""
    # The end of the run ends this; a signal to the whole group must not come before that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    folder = Layout(root).var / "drift" / "hook"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        _say({"problem": f"Cannot make {folder}: {problem.strerror}.", "hint": "The drift hook runs there."})
        return 0
    _say({"place": command})
    while line := sys.stdin.buffer.readline(_LONGEST_EVENT_BYTES):
        _run(command, line, folder, root)
    _say({"readers": 0, "dropped": 0})
    return 0


def hook_environment(folder: Path, root: Path) -> dict[str, str]:
    """All that a command finds in its environment."""
    return {
        "PATH": _PATH,
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "EDGEPOSE_ROOT": str(root),
    }


def _run(command: str, line: bytes, folder: Path, root: Path) -> None:
    # A shell, because the user wrote a shell's command; nothing of an event becomes part of it.
    process = subprocess.Popen(
        ["/bin/sh", "-c", command],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=hook_environment(folder, root),
        start_new_session=True,
    )
    with process:
        said = _attend(process, line)
    if process.returncode == -signal.SIGKILL:
        sys.stderr.write(f"The drift hook did not end within {_COMMAND_LIMIT_S:.0f} s: {command}\n")
    elif process.returncode:
        about = f": {said}" if said else ""
        sys.stderr.write(f"The drift hook ended with exit code {process.returncode}: {command}{about}\n")


def _attend(process: subprocess.Popen[bytes], line: bytes) -> str:
    """Gives the event, listens, and ends the command with all that it started when its time is over."""
    if process.stdin is None or process.stderr is None:
        raise ValueError("the command has no pipes")
    # An event is far shorter than a pipe (64 KiB, pipe(7)), so this does not wait.
    with suppress(BrokenPipeError), process.stdin as stream:
        stream.write(line)
    limit_s, said = time.monotonic() + _COMMAND_LIMIT_S, b""
    # What a command leaves in the background may hold the pipe open: its own end is what counts.
    while process.poll() is None:
        if time.monotonic() > limit_s:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            break
        if select.select([process.stderr], [], [], 0.1)[0]:
            piece = os.read(process.stderr.fileno(), 1 << 12)
            said += piece[: _SAID_BYTES - len(said)]
            if not piece:
                time.sleep(0.05)
    if len(said) < _SAID_BYTES and select.select([process.stderr], [], [], 0)[0]:
        said += os.read(process.stderr.fileno(), _SAID_BYTES - len(said))
    text = said.decode(errors="replace").strip().replace("\n", " | ")
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _say(words: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
