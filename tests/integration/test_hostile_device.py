"""A device behind ssh that lies: its answers are bounded, checked, and shown with nothing hidden in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from edgepose.errors import DeployError
from edgepose.host.bounded_process import Answer, AnswerLimits
from edgepose.host.deploy.ssh.connection import glibc_minor, read_probe, remember_host_key
from edgepose.host.deploy.ssh.device_store import DeviceProgram, DeviceStore
from edgepose.host.deploy.ssh.remote_host import LONG, MUCH, USUAL, SshAddress, SshHost
from edgepose.host.deploy.ssh.shipment import WheelTarget
from edgepose.records.device_status import DeviceLogs
from tests.conftest import PROJECT
from tests.support.hostile_ssh import PROBE, hostile_ssh

_EVIL = "x\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\n"
_HIDDEN = frozenset({"Cc", "Cf", "Cs"})
# More than the bare program needs, far less than what the device sends.
_MEMORY_MIB = 250


# A process begins with the peak of the one that started it (exec keeps it), so a small one stands between.
_MEASURED = """
import os, subprocess, sys
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
with open(sys.argv[1], "w") as peak:
    peak.write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


class Device:
    """A device that gives one answer to everything."""

    name = "pi@cam"

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def run(
        self, command: Sequence[str], stdin: Iterable[bytes] = (), limits: AnswerLimits = USUAL
    ) -> Answer:
        del command, stdin, limits
        return Answer(0, self._answer, "")


def ask(folder: Path, programs: Path, *arguments: str, stdin: str = "") -> tuple[int, str, float]:
    """Exit code, output and peak memory in MiB of ``edgepose``."""
    environment = {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHONPATH": str(PROJECT),
    }
    environment.pop("XDG_CONFIG_HOME", None)
    peak = folder / "peak"
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, peak, sys.executable, "-m", "edgepose", *arguments],
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env=environment,
        check=False,
    )
    return done.returncode, done.stdout.decode(), int(peak.read_text()) / 1024


def resident_mib() -> float:
    """Memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def hidden_in(text: str) -> set[str]:
    """Characters that a terminal would obey."""
    return {sign for sign in text if unicodedata.category(sign) in _HIDDEN and sign not in "\n\t"}


@pytest.mark.parametrize(("stream", "to_the_probe"), [("stdout", True), ("stderr", False)])
def test_an_endless_answer_ends_in_one_sentence_and_bounded_memory(
    tmp_path: Path, stream: str, to_the_probe: bool
) -> None:
    flood = f"while True: sys.{stream}.write('x' * 65536)"
    programs = hostile_ssh(tmp_path, flood, None if to_the_probe else PROBE)
    code, text, peak_mib = ask(tmp_path, programs, "status", "--host", "pi@cam")
    assert code == 8, text
    assert "pi@cam answered with more than" in text
    assert "Traceback" not in text
    assert peak_mib < _MEMORY_MIB


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("arch", "aarch64\x1b[31m"),
        ("board", "Rasp\x1b]0;owned\x07berry"),
        ("glibc", "2.99999999"),
        ("glibc", "2.36\n"),
        ("kernel", "6" * 1000),
        ("pythons", [{"path": "/usr/bin/python3", "version": "3.99999"}]),
        ("pythons", [{"path": "/x\x1b[2J", "version": "3.11"}]),
        ("pythons", [{"path": "/usr/bin/python3.11", "version": "3.11"}] * 1000),
        ("cpu_cores", 10**30),
        ("memory_mib", -1),
        ("base", "relative"),
        ("user", "a/b"),
        ("runtimes", ["../../etc"]),
        ("cameras", ["/dev/video0"] * 10_000),
    ],
)
def test_a_probe_that_no_device_would_give_is_refused(name: str, value: object) -> None:
    with pytest.raises(DeployError, match="The probe of pi@cam"):
        read_probe(Device(json.dumps({**PROBE, name: value}).encode()))


def test_a_probe_that_a_device_would_give_is_taken() -> None:
    greeting = b"Welcome!\n"
    assert read_probe(Device(greeting + json.dumps(PROBE).encode())).board == "Raspberry Pi 5 Model B"


@pytest.mark.parametrize(
    "answer",
    [
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b"NaN",
        b'{"schema": NaN}',
        b'{"schema": -Infinity}',
        b"1" * 10_000,
        b"[]",
        b"null",
        b"",
        b"\xff\xfe{",
    ],
)
def test_an_answer_that_is_none_ends_in_one_sentence(answer: bytes) -> None:
    with pytest.raises(DeployError, match="pi@cam"):
        DeviceProgram(Device(answer), ("edgepose-device",)).ask(["status"])
    with pytest.raises(DeployError, match="pi@cam"):
        DeviceProgram(Device(answer), ("edgepose-device",)).ask_record(["logs"], DeviceLogs)
    with pytest.raises(DeployError, match="pi@cam"):
        DeviceStore(Device(answer), "python3", "/base").missing(["a"])


@pytest.mark.parametrize("head", [b'{"schema":"edgepose.logs/1","history":[', b'{"x":[', b"["])
def test_a_long_answer_that_is_no_record_takes_no_memory_of_its_own(head: bytes) -> None:
    # As Python's own lists and dicts it would be several hundred MiB.
    device = Device(head + b"[{}]," * 1_500_000 + b"[]")
    before = resident_mib()
    with pytest.raises(DeployError, match="pi@cam's answer to 'logs'"):
        DeviceProgram(device, ("edgepose-device",)).ask_record(["logs"], DeviceLogs)
    assert resident_mib() - before < 32


@pytest.mark.parametrize(
    "answer", [b"{}", b'{"result": 7}', b'{"result": ["b"]}', b'{"result": []}\n{"result": []}']
)
def test_a_device_may_lack_only_what_it_was_asked_for(answer: bytes) -> None:
    with pytest.raises(DeployError, match="did not say which files it lacks"):
        DeviceStore(Device(answer), "python3", "/base").missing(["a"])
    assert DeviceStore(Device(b'{"result": ["a"]}'), "python3", "/base").missing(["a", "c"]) == {"a"}


EVENT = {"at": _EVIL, "event": "installed", "bundle_version": 1, "active_version": None, "detail": _EVIL}
LOGS = {"schema": "edgepose.logs/1", "root": _EVIL, "history": [EVENT], "service": ["first", _EVIL]}


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("status",), f"print({_EVIL!r}, file=sys.stderr); sys.exit(255)"),
        (("status",), f"print('error: ' + {_EVIL!r} + '  hint: ' + {_EVIL!r}, file=sys.stderr); sys.exit(7)"),
        (("rollback",), f"print(json.dumps({{'bundle_version': {_EVIL!r}}}))"),
        (("drift", "show"), f"print(json.dumps({{'schema': {_EVIL!r}}}))"),
    ],
)
def test_nothing_that_a_device_says_commands_the_terminal(
    tmp_path: Path, arguments: tuple[str, ...], answer: str
) -> None:
    programs = hostile_ssh(tmp_path, answer, PROBE)
    code, text, _ = ask(tmp_path, programs, *arguments, "--host", "pi@cam")
    assert hidden_in(text) == set()
    assert "\\x1b" in text or code == 8, text
    assert "Traceback" not in text


@pytest.mark.parametrize("more", [(), ("--json", "-")])
def test_a_devices_journal_is_shown_line_by_line_with_nothing_hidden(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    programs = hostile_ssh(tmp_path, f"print({json.dumps(LOGS)!r})", PROBE)
    code, text, _ = ask(tmp_path, programs, "logs", "--host", "pi@cam", *more)
    assert code == 0, text
    assert hidden_in(text) == set()
    if more:
        assert json.loads(text)["service"] == ["first", _EVIL]
    else:
        assert "\nfirst\nx\\x1b[2J\\x1b]0;owned\\x07\\x9b31m\\u202e\\r" in text


def test_the_same_text_printed_bare_would_be_found() -> None:
    assert hidden_in(_EVIL) == {"\x1b", "\x07", "\x9b", "\u202e", "\r"}


@pytest.fixture
def silent_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SshAddress:
    programs = hostile_ssh(tmp_path, "time.sleep(600)")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return SshAddress("pi@cam")


def test_a_device_that_falls_silent_is_left(silent_device: SshAddress, tmp_path: Path) -> None:
    with (
        SshHost(silent_device, tmp_path / "known") as host,
        pytest.raises(DeployError, match="pi@cam has been silent for 1 s"),
    ):
        host.run(["true"], limits=AnswerLimits(silence_s=1.0))


def test_every_call_to_a_device_has_an_end() -> None:
    for limits in (USUAL, MUCH, LONG):
        assert limits.total_s is not None
        assert limits.silence_s <= limits.total_s
        assert limits.bytes <= 8 << 20


def test_a_flood_instead_of_a_host_key_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = hostile_ssh(tmp_path, "while True: sys.stdout.write('x' * 65536)")
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    with pytest.raises(DeployError, match="answered with more than 1 MiB"):
        remember_host_key(SshAddress("pi@cam", f"SHA256:{'a' * 43}"), tmp_path / "known")
    assert not (tmp_path / "known").exists()


@pytest.mark.parametrize(("version", "tags"), [("2.36", 21), ("2.999", 984), ("2.99999999", 1), ("3.0", 1)])
def test_a_glibc_makes_few_platform_tags(version: str, tags: int) -> None:
    assert len(WheelTarget("aarch64", version, "3.11").platforms) == tags
    assert glibc_minor(version) < 1000


def test_a_cameras_password_goes_to_a_device_by_standard_input(tmp_path: Path) -> None:
    programs = hostile_ssh(tmp_path, "sys.exit(9)", PROBE)
    secret = tmp_path / "camera"
    secret.touch(mode=0o600)
    secret.write_text("rtsp://u:S3cret@10.0.0.7/live")
    _, text, _ = ask(tmp_path, programs, "benchmark", "--host", "pi@cam", "--camera-file", str(secret))
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert any("--camera-file -" in " ".join(call) for call in calls)
    assert "S3cret" not in json.dumps(calls) + text
    assert (tmp_path / "stdin").read_text() == "rtsp://u:S3cret@10.0.0.7/live"


def test_an_error_of_any_length_is_cut(tmp_path: Path) -> None:
    programs = hostile_ssh(
        tmp_path, "print('error: ' + 'x' * 1_000_000, file=sys.stderr); sys.exit(7)", PROBE
    )
    code, text, _ = ask(tmp_path, programs, "status", "--host", "pi@cam")
    assert code == 7
    assert len(text) < 5000
    assert "(1000011 characters)" in text
