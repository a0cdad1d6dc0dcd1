"""The stress target counts what fails, and fails itself where anything did."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.captures import is_alive
from tests.support.stress import busy_processes
from tests.support.waiting import until

PROJECT = Path(__file__).resolve().parents[3]
_TESTS = """
from pathlib import Path
def test_steady():
    pass
def test_every_second_time():
    flag = Path(r"{flag}")
    if flag.exists():
        flag.unlink()
        raise AssertionError("now")
    flag.touch()
"""


def _stress(folder: Path, *names: str, rounds: int) -> subprocess.CompletedProcess[str]:
    test = folder / "test_inner.py"
    test.write_text(_TESTS.format(flag=folder / "flag"))
    call = [sys.executable, "-m", "tests.support.stress", "--rounds", str(rounds), "--busy", "1", "--"]
    call += [f"{test}::{name}" for name in names]
    call += ["-p", "no:cacheprovider", f"--rootdir={folder}", "-c", os.devnull]
    environment = {**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(call, cwd=PROJECT, capture_output=True, text=True, check=False, env=environment)


def test_a_test_that_fails_now_and_then_is_counted_and_fails_the_stress(tmp_path: Path) -> None:
    done = _stress(tmp_path, "test_steady", "test_every_second_time", rounds=2)
    assert done.returncode == 1
    counted, summary = done.stdout.splitlines()[-2:]
    assert counted.endswith("1 of 2 rounds: test_inner::test_every_second_time")
    assert summary == "4 tests in 2 rounds, 1 failures of 1 tests, 0 rounds that did not end well"


def test_steady_tests_pass_it_and_no_tests_do_not(tmp_path: Path) -> None:
    done = _stress(tmp_path, "test_steady", rounds=1)
    assert done.returncode == 0, done.stdout
    assert "1 tests in 1 rounds, 0 failures" in done.stdout
    assert _stress(tmp_path, "test_absent", rounds=1).returncode == 1


def test_busy_processes_compute_and_end() -> None:
    with busy_processes(2) as busy:
        until(lambda: all(_ticks(pid) > 20 for pid in busy), "both compute", last=lambda: busy)
    assert not any(is_alive(pid) for pid in busy)


def _ticks(pid: int) -> int:
    """User time, in clock ticks (proc_pid_stat(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])
