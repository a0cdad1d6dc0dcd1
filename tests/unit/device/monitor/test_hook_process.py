"""The drift hook: what a command finds, and that it cannot stay, say too much or hold anything open."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from edgepose.device.monitor import hook_process
from edgepose.device.output.streams import FedProcess
from edgepose.errors import ConfigError
from tests.support.waiting import until

pytestmark = pytest.mark.timing


def hooked(command: str, root: Path) -> None:
    process = FedProcess("edgepose.device.monitor.hook_process", [command, str(root)])
    process.send(b'{"feature":"brightness"}\n')
    process.close()


def test_a_command_finds_a_folder_of_its_own_five_variables_and_no_other_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPOSE_KEYS_PASSPHRASE", "secret")
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "x")
    monkeypatch.chdir(tmp_path)
    leak = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(leak, True)
    try:
        hooked("env > env; pwd > pwd; cat > event; ls -l /proc/self/fd > fds", tmp_path)
    finally:
        os.close(leak)
    folder = tmp_path / "var" / "drift" / "hook"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    found = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    # The shell adds the folder itself.
    assert {name: value for name, value in found.items() if name not in ("PWD", "SHLVL", "_", "OLDPWD")} == {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LANG": "C.UTF-8",
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "EDGEPOSE_ROOT": str(tmp_path),
    }
    assert (folder / "pwd").read_text().strip() == str(folder)
    assert json.loads((folder / "event").read_text()) == {"feature": "brightness"}
    shown = (folder / "fds").read_text()
    places = [line.rpartition("-> ")[2] for line in shown.splitlines() if "-> " in line]
    assert not [place for place in places if place == str(tmp_path)]
    assert len(places) <= 4 + shown.count("/proc/")


def test_a_command_that_does_not_end_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hook_process, "_COMMAND_LIMIT_S", 3.0)
    hook_process._run("sleep 300 & echo $! > pid; sleep 300", b"{}\n", tmp_path, tmp_path)
    assert "did not end within" in capfd.readouterr().err
    started = int((tmp_path / "pid").read_text())
    until(lambda: "sleep" not in _name_of(started), "what it started is gone", last=lambda: _name_of(started))


def _name_of(pid: int) -> str:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return "" if ") Z " in status else status


def test_a_command_that_leaves_something_in_the_background_is_not_waited_for(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    # Were it waited for, it would be ended for its time, and that would be said.
    hook_process._run("sleep 999 & echo $! > pid", b"{}\n", tmp_path, tmp_path)
    os.kill(int((tmp_path / "pid").read_text()), 9)
    assert capfd.readouterr().err == ""


def test_of_what_a_command_says_little_is_passed_on_and_no_control_character(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = "printf '\\033]0;title\\007' >&2; head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 3"
    hook_process._run(command, b"{}\n", tmp_path, tmp_path)
    said = capfd.readouterr().err
    assert "ended with exit code 3" in said
    assert "\x1b" not in said
    assert "\x07" not in said
    assert len(said) < 2500


def test_a_folder_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("in the way")
    with pytest.raises(ConfigError, match="Cannot make"):
        FedProcess("edgepose.device.monitor.hook_process", ["true", str(tmp_path)])
