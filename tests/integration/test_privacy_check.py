"""The lock on this very kernel: every known way out is refused, and all are open without it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.device.sandbox.lock import refuse_descriptors
from edgepose.errors import DeviceError

LOCKED_WORK = """
import threading
import numpy as np
from edgepose.device.sandbox.lock import lock_process
from pathlib import Path
print(lock_process(writable=(Path(PATH).parent,)).enforced)
values = []
thread = threading.Thread(target=lambda: values.append(float((np.ones((64, 64)) @ np.ones((64, 64))).sum())))
thread.start(); thread.join()
open(PATH, "w").write(str(values[0]))
"""


def program(*words: object, **changes: str) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose.cli.device_main", *map(str, words)]
    environment = {**os.environ, **changes}
    return subprocess.run(call, capture_output=True, text=True, check=False, env=environment, timeout=120)


def test_every_way_is_refused_and_nothing_arrives(tmp_path: Path) -> None:
    done = program("privacy-check", "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert done.returncode == 0, done.stderr
    assert report["passed"]
    assert report["arrived"] == 0
    assert len(report["ways"]) == 17
    assert all(way["refused"] for way in report["ways"]), report["ways"]


def test_without_the_sandbox_the_ways_are_open_and_the_check_fails(tmp_path: Path) -> None:
    done = program("privacy-check", "--without-sandbox", "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert done.returncode == 9, done.stderr
    assert report["arrived"] > 0
    opened = {way["way"] for way in report["ways"] if not way["refused"]}
    # ptrace, foreign memory and io_uring may be refused by the system itself.
    assert opened >= {
        "tcp", "udp", "dns", "raw_syscall", "unix_socket", "child", "exec", "old_thread", "new_thread",
        "passed_descriptor", "core_dump", "inherited_socket",
    }  # fmt: skip


def test_a_locked_process_computes_makes_threads_and_writes_files(tmp_path: Path) -> None:
    target = tmp_path / "result"
    text = LOCKED_WORK.replace("PATH", repr(str(target)))
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "True"
    assert target.read_text() == "262144.0"


def test_an_open_socket_is_found(tmp_path: Path) -> None:
    with socket.socket() as network:
        with pytest.raises(DeviceError, match=rf"descriptor {network.fileno()}, AF_INET"):
            refuse_descriptors(frozenset())
        with pytest.raises(DeviceError, match="AF_INET"):
            # A network socket cannot be kept by naming it.
            refuse_descriptors(frozenset({network.fileno()}))
    left, right = socket.socketpair()
    with left, right:
        with pytest.raises(DeviceError, match="AF_UNIX"):
            refuse_descriptors(frozenset({left.fileno()}))
        refuse_descriptors(frozenset({left.fileno(), right.fileno()}))
