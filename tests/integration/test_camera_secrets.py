"""A camera's password, and the passphrase of keys, stand nowhere: output, records, files, process list."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from edgepose.trust.builtin_models import find_builtin_models
from tests.support.secret_search import watch, watch_edgepose

# One that stands in each place where cameras take it, with a slash, a # and an @; port 9 refuses at once.
CANARY = "Zq7canary9"
URL = f"rtsp://{CANARY}us:12/{CANARY}#@{CANARY}@127.0.0.1:9/live?user=x&password={CANARY}"
DEVICE = "edgepose.cli.device_main"
MODEL = str(find_builtin_models().path_of("pose", "int8"))

COMMANDS = {
    "run": ("edgepose", ["run", "{}", "--model", MODEL, "--json", "r.json", "--output", "poses.jsonl"]),
    "service": (DEVICE, ["service", "{}", "--root", "root", "--allow-network-camera"]),
    "calibrate": (DEVICE, ["calibrate", "{}", "--model", MODEL, "--output", "o.json"]),
    "benchmark": (
        "edgepose",
        ["benchmark", MODEL, "--samples", "1", "--duration-s", "0.1", "--source", "{}"],
    ),
    "device benchmark": (DEVICE, ["benchmark", "--root", "root", "--source", "{}", "--json", "-"]),
    "units show": (DEVICE, ["units", "show", "{}", "--root", "/srv/root"]),
    "units install": (
        DEVICE,
        ["units", "install", "{}", "--root", "/srv/root", "--systemd-dir", "card/etc/systemd/system"],
    ),
    "camera": (DEVICE, ["camera", "{}", "--share", "/nowhere/at/all", "--allow-network-camera"]),
    "a wrong option": ("edgepose", ["run", "{}", "--max-frames", "{}"]),
    "one argument too many": ("edgepose", ["run", "clip.mp4", "{}"]),
    "another option's value": ("edgepose", ["run", "clip.mp4", "--model", "{}"]),
}
_REFUSED = {"a wrong option", "one argument too many", "another option's value"}
_CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c'"
# The one place that is for it, readable by root alone.
_ITS_FILE = "work/card/etc/edgepose/camera.url"


def places(name: str, folder: Path, *, by_file: bool) -> set[str]:
    """Where the canary stands after a command."""
    program, words = COMMANDS[name]
    (folder / "work/card/etc/systemd/system").mkdir(parents=True)
    secret = folder / "given"
    secret.touch(mode=0o600)
    secret.write_text(f"{URL}\n")
    given = []
    for word in words:
        if word != "{}":
            given.append(word)
        elif by_file:
            given[-1:] = [] if given[-1] == "--source" else given[-1:]
            given += ["--camera-file", str(secret)]
        else:
            given.append(URL)
    seen = watch_edgepose(folder, *given, program=program)
    secret.unlink()
    assert b"Traceback" not in seen.output, seen.output.decode()
    assert by_file or name in _REFUSED or b"warning: the camera's password" in seen.output
    found = seen.places_of(CANARY.encode())
    if name == "units install":
        assert (folder / _ITS_FILE).stat().st_mode & 0o777 == 0o600
        found.remove(_ITS_FILE)
    if name == "run":
        assert seen.processes, "the capture process was not seen, so nothing is known about it"
        assert b"rtsp://127.0.0.1:9 cannot be opened" in seen.output
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run", "benchmark", "units install", "camera"])
def test_a_password_from_a_file_stands_nowhere(tmp_path: Path, name: str) -> None:
    assert places(name, tmp_path, by_file=True) == set()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_password_on_the_command_line_is_gone_from_it_and_stands_nowhere_else(
    tmp_path: Path, name: str
) -> None:
    found = places(name, tmp_path, by_file=False)
    if name in _REFUSED:
        # Nobody can know that what stands for a model or a number is a camera, so it stays on command lines.
        found = {place for place in found if place != "process list" and not place.startswith("child ")}
    assert found == set()


def test_a_password_comes_by_standard_input(tmp_path: Path) -> None:
    seen = watch_edgepose(
        tmp_path, "units", "show", "--camera-file", "-", stdin=f"{URL}\n".encode(), program=DEVICE
    )
    assert seen.code == 0, seen.output.decode()
    assert b"IPAddressAllow=127.0.0.1" in seen.output
    assert seen.places_of(CANARY.encode()) == set()


@pytest.mark.parametrize(
    ("place", "code"),
    [
        ("output", "print('{}')"),
        ("work/r.json", "open('r.json', 'w').write('{}')"),
        (
            "child",
            f"{_CHILD}, 'import time; time.sleep(2) #{{}}'])",
        ),
        (
            "child",
            f"{_CHILD}, 'import time; time.sleep(2)'], env={{{{'X': '{{}}'}}}})",
        ),
    ],
)
def test_a_planted_leak_is_found_by_the_same_search(tmp_path: Path, place: str, code: str) -> None:
    program = tmp_path / "leak.py"
    program.write_text(code.format(CANARY))
    seen = watch(tmp_path, [sys.executable, str(program)])
    program.unlink()
    assert {found.split()[0] for found in seen.places_of(CANARY.encode())} == {place}


def test_a_password_that_stays_on_the_command_line_is_found_by_the_same_search(tmp_path: Path) -> None:
    seen = watch(tmp_path, [sys.executable, "-c", "import time; time.sleep(2)", CANARY])
    assert seen.places_of(CANARY.encode()) == {"process list"}


def test_the_passphrase_leaves_the_environment_before_anything_is_started(tmp_path: Path) -> None:
    # `doctor` asks other programs for their versions; a wrapper of Python shows what any child would get.
    code = (
        "import os, sys, subprocess; from edgepose.cli import main; import edgepose.cli.environment as p; "
        "p.list_profiles = None; sys.argv = ['edgepose', 'profiles', 'list']\n"
        "try:\n    main.main()\nexcept SystemExit:\n"
        "    print(subprocess.run(['env'], capture_output=True, text=True).stdout)"
    )
    seen = watch(tmp_path, [sys.executable, "-c", code], EDGEPOSE_KEYS_PASSPHRASE=CANARY)
    assert b"PYTHONPATH=" in seen.output
    assert CANARY.encode() not in seen.output


def test_a_passphrase_comes_from_a_file_of_the_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "passphrase"
    path.write_text("correct horse\n")
    path.chmod(0o644)
    command = [
        sys.executable,
        "-m",
        "edgepose",
        "keys",
        "init",
        "--home",
        str(tmp_path / "keys"),
        "--json",
        "-",
    ]
    refused = watch(tmp_path, command, EDGEPOSE_KEYS_PASSPHRASE_FILE=str(path))
    assert refused.code == 3
    assert b"mode 0644" in refused.output
    assert not (tmp_path / "keys").exists()
    path.chmod(0o600)
    made = watch(tmp_path, command, EDGEPOSE_KEYS_PASSPHRASE_FILE=str(path))
    assert made.code == 0, made.output.decode()
    path.unlink()
    assert json.loads(made.output)["encrypted"] is True
    assert made.places_of(b"correct horse") == set()
