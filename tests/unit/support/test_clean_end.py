"""A run of the tests leaves nothing behind, however it ends, and says so where a test did."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.captures import is_alive
from tests.support.waiting import until

PROJECT = Path(__file__).resolve().parents[3]
_MOUNTS = """
import signal
from pathlib import Path
from tests.support.full_disk import small_disk
def test_on_a_small_disk(tmp_path):
    with small_disk(tmp_path, "64k"):
        Path(r"{told}").write_text(str(tmp_path))
        {then}
"""
_LEAVES = """
import os, subprocess, tempfile
from pathlib import Path
from tests.support import leftovers
leftovers.END_LIMIT_S = 0.2
def test_that_leaves_something(tmp_path):
    {leaves}
"""
# Its parent ends at once, so that it has none of the run's processes above it.
_ORPHAN = """subprocess.run(["sh", "-c", "sleep 987 > /dev/null 2>&1 & echo $! > {told}"])"""


def _command(folder: Path, text: str) -> list[str]:
    test = folder / "test_inner.py"
    test.write_text(text)
    options = ["-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'base'}", f"--rootdir={PROJECT}"]
    return [
        sys.executable, "-m", "pytest", *options, "-c", str(PROJECT / "pyproject.toml"),
        "-p", "tests.conftest", str(test),
    ]  # fmt: skip


def _run(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(_command(folder, text), cwd=PROJECT, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_killed_run_leaves_no_disk_mounted_and_the_next_one_passes(tmp_path: Path) -> None:
    told = tmp_path / "told"
    before = leftovers.mounts()
    hangs = _MOUNTS.format(told=told, then="signal.pause()")
    with subprocess.Popen(_command(tmp_path, hangs), cwd=PROJECT, stdout=subprocess.DEVNULL) as run:
        until(lambda: (told.exists() and told.read_text()) or run.poll() is not None, "a mounted disk")
        disk = told.read_text()
        # In the run it was there; this process never saw it.
        assert f" {disk} tmpfs " in Path(f"/proc/{run.pid}/mounts").read_text()
        run.send_signal(signal.SIGKILL)
    assert leftovers.mounts() == before
    done = _run(tmp_path, _MOUNTS.format(told=told, then="pass"))
    assert done.returncode == 0, done.stdout
    assert leftovers.mounts() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_without_a_namespace_of_its_own_a_killed_process_leaves_its_disk(tmp_path: Path) -> None:
    """The negative control."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = f"mount -t tmpfs -o size=64k tmpfs {disk} && kill -9 $$"
    if subprocess.run(["sh", "-c", script], check=False).returncode != -signal.SIGKILL:
        pytest.skip("a small disk cannot be mounted here")
    try:
        assert str(disk) in leftovers.mounts()
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize(
    ("leaves", "said"),
    [
        (_ORPHAN, "processes that no test has ended"),
        ("tempfile.mkdtemp()", "temporary files that no test has removed"),
    ],
)
def test_what_a_test_leaves_fails_the_run_and_is_named(tmp_path: Path, leaves: str, said: str) -> None:
    told = tmp_path / "told"
    done = _run(tmp_path, _LEAVES.format(leaves=leaves.format(told=told)))
    try:
        assert done.returncode == 1
        assert "1 passed, 1 error" in done.stdout
        assert said in done.stdout
        if told.exists():
            assert "sleep 987" in done.stdout
            pid = int(told.read_text())
            until(lambda: not is_alive(pid), "the run has killed it")
    finally:
        if told.exists():
            with suppress(ProcessLookupError):
                os.kill(int(told.read_text()), signal.SIGKILL)


def test_a_test_that_leaves_nothing_passes(tmp_path: Path) -> None:
    ends = "subprocess.run(['true']); tempfile.TemporaryDirectory().cleanup()"
    done = _run(tmp_path, _LEAVES.format(leaves=ends))
    assert done.returncode == 0, done.stdout


def test_waiting_in_vain_says_for_what_and_what_was_seen_last() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"after 0 s still not: a miracle; seen last: 0"):
        until(lambda: 0, "a miracle", limit_s=0.0)
    assert until(lambda: "came", "it", limit_s=0.0) == "came"
