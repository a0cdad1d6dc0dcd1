"""The program's surface: exit codes, plain messages, and where each line goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest

from edgepose.cli.entry import run_program
from edgepose.errors import (
    ConfigError,
    DeployError,
    DeviceError,
    EdgeposeError,
    GateFailedError,
    MissingDependencyError,
    ModelError,
    TrustError,
)
from tests.conftest import PROJECT


def edgepose(*args: str, cwd: Path = PROJECT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgepose", *args],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(PROJECT), **env},
        check=False,
    )


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (("nosuch",), 2, "No such command 'nosuch'"),
        ((), 2, "Usage: edgepose"),
        (("profiles", "show"), 2, "Missing argument 'ID'"),
        (("profiles", "list", "--nosuch"), 2, "No such option"),
        (("profiles", "show", "toaster"), 3, "Profile 'toaster' is unknown; expected one of"),
        (("profiles", "show", "missing.toml"), 3, "Cannot read missing.toml: No such file"),
    ],
)
def test_a_mistake_is_told_on_standard_error_with_its_exit_code(
    args: tuple[str, ...], code: int, message: str
) -> None:
    result = edgepose(*args)
    assert result.returncode == code
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("args", [("--help",), ("-h",), ("profiles", "--help"), ("profiles", "list", "-h")])
def test_help_has_an_example(args: tuple[str, ...]) -> None:
    result = edgepose(*args)
    assert result.returncode == 0
    assert "Example: edgepose" in result.stdout


def test_the_version_is_the_packages() -> None:
    from edgepose import __version__

    assert edgepose("--version").stdout.split()[-1] == __version__


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "report", "model.json.onnx"])
def test_a_report_never_overwrites_a_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"the model")
    result = edgepose("profiles", "list", "--json", name, cwd=tmp_path)
    assert result.returncode == 2
    assert "must end in .json" in result.stderr
    assert (tmp_path / name).read_bytes() == b"the model"


def test_json_on_standard_output_is_alone_there() -> None:
    result = edgepose("profiles", "list", "--json", "-")
    assert result.returncode == 0
    assert json.loads(result.stdout)["schema"] == "edgepose.profiles/1"


def test_json_in_a_file_comes_beside_the_table(tmp_path: Path) -> None:
    result = edgepose("profiles", "show", "jetson", "--json", "out.json", cwd=tmp_path)
    assert json.loads((tmp_path / "out.json").read_text())["id"] == "jetson-orin-nano"
    assert "jetson-orin-nano" in result.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"], "nothing temporary stays"


@pytest.mark.parametrize("target", ["missing/out.json", "file/out.json", "folder.json"])
def test_a_report_that_cannot_be_written_is_a_config_error(tmp_path: Path, target: str) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    (tmp_path / "folder.json").mkdir()
    result = edgepose("profiles", "list", "--json", target, cwd=tmp_path)
    assert result.returncode == 3
    assert "Cannot write" in result.stderr
    assert "Traceback" not in result.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.json"]


def test_colours_are_off_in_pipes() -> None:
    """The check's own negative control: the message is styled before click takes the colours out."""
    result = edgepose("profiles", "show", "toaster")
    assert "\x1b" not in result.stdout + result.stderr
    assert "\x1b" in click.style("error: ", fg="red")


def test_a_reader_that_goes_away_is_no_bug() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as closed:
        result = subprocess.run(
            [sys.executable, "-m", "edgepose", "profiles", "list"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            cwd=PROJECT,
            check=False,
        )
    assert (result.returncode, result.stderr) == (0, "")


def exit_code_of(raised: BaseException | int | None, monkeypatch: pytest.MonkeyPatch) -> int | str | None:
    """Runs a command that ends so, as a program."""

    @click.command()
    @click.pass_context
    def command(ctx: click.Context) -> None:
        if isinstance(raised, BaseException):
            raise raised
        if raised is not None:
            ctx.exit(raised)

    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as stopped:
        run_program(command, "program")
    return stopped.value.code


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (None, 0),
        (ConfigError("m"), 3),
        (MissingDependencyError("m"), 4),
        (ModelError("m"), 5),
        (GateFailedError("m"), 6),
        (TrustError("m"), 7),
        (DeployError("m"), 8),
        (DeviceError("m"), 9),
        (click.UsageError("m"), 2),
        (KeyboardInterrupt(), 130),
        (6, 6),
    ],
    ids=str,
)
def test_each_way_to_end_has_its_exit_code(
    raised: BaseException | int | None, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_code_of(raised, monkeypatch) == code


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        exit_code_of(ZeroDivisionError(), monkeypatch)


def test_message_and_hint_are_both_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exit_code_of(ModelError("The model is cut.", "Copy it again."), monkeypatch)
    shown = capsys.readouterr()
    assert shown.err == "error: The model is cut.\n  hint: Copy it again.\n"
    assert shown.out == ""


def test_every_error_family_has_its_own_exit_code() -> None:
    codes = [family.exit_code for family in EdgeposeError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert not {0, 1, 2} & set(codes)
    assert str(ModelError("What.", "Do.")) == "What. Do."
    assert str(ModelError("What.")) == "What."


def test_names_in_a_model_and_of_its_file_are_shown_with_nothing_hidden(tmp_path: Path) -> None:
    evil = "evil\x1b[2J\x1b]0;owned\x07\u202e"
    layer = {"module": evil, "class_name": f"X{evil}", "config": {}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    path = tmp_path / f"line\nerror: {evil}.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"x")
    found = edgepose("models", "inspect", str(path))
    assert found.returncode == 5, found.stderr
    assert "\\x1b[2J" in found.stderr
    assert not {"\x1b", "\x07", "\u202e"} & set(found.stderr)
    # The name's second line is not taken for a line of the program's own.
    assert [line for line in found.stderr.splitlines() if line.startswith("error: ")] == [
        found.stderr.splitlines()[0]
    ]
