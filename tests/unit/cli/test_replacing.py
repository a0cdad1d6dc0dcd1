"""Nothing that is there is replaced without a word: every option that names a file to write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgepose.cli.device_main import command as device_program
from edgepose.cli.main import command as host_program
from edgepose.cli.output import write_report
from edgepose.errors import ConfigError

# Names of options and arguments with a path. A new one must be put into one of these.
_WRITTEN = {"output", "render", "markdown", "plot", "manifest", "save_recipe", "file"}
_FOLDERS_AND_LINES = {
    ("distill", "output"): "a folder, which goes on from its last checkpoint",
    ("phone", "output"): "a folder, which must not be there",
    ("synth", "folder"): "a folder, which must hold nothing of the kind",
    ("service", "output"): "lines are added to it",
    ("service", "socket_path"): "a socket; anything else there is refused",
    ("run", "socket_path"): "a socket; anything else there is refused",
    ("deploy", "rollout"): "a folder, which goes on from where it was",
}
_READ = {
    "address_file", "against", "annotations", "baseline", "benchmark_model", "benchmarks", "bundle",
    "cache", "calibration", "camera_file", "detector", "detector_spec", "distillations", "empty",
    "evaluations", "float_parent", "folder", "folders", "home", "images", "inventory", "keys", "model",
    "models", "notes", "path", "poses", "ranges", "records", "retraining", "root", "root_file",
    "root_key", "root_keys", "socket_path", "spec_file", "ssh_config", "start", "systemd_dir",
    "teacher", "teacher_spec", "validate", "video",
}  # fmt: skip


def leaves(command: click.Command) -> Iterator[click.Command]:
    if not isinstance(command, click.Group):
        yield command
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner)


COMMANDS = [*leaves(host_program), *leaves(device_program)]


def test_every_path_of_a_command_is_known_to_be_read_or_written() -> None:
    unknown = {
        (command.name, parameter.name)
        for command in COMMANDS
        for parameter in command.params
        if isinstance(parameter.type, click.Path)
        and parameter.name not in _WRITTEN | _READ
        and (command.name, parameter.name) not in _FOLDERS_AND_LINES
    }
    assert unknown == set()


def test_every_command_that_writes_a_file_has_force_and_looks_before_it_works(tmp_path: Path) -> None:
    there = tmp_path / "there.json"
    looked = set()
    for command in COMMANDS:
        for parameter in command.params:
            if parameter.name not in _WRITTEN or (command.name, parameter.name) in _FOLDERS_AND_LINES:
                continue
            there = tmp_path / f"there{'.png' if parameter.name == 'render' else '.json'}"
            there.write_text("mine")
            context = click.Context(command)
            with pytest.raises(ConfigError, match="is there already"):
                parameter.process_value(context, str(there))
            forced = next(option for option in command.params if option.name == "force")
            forced.process_value(context, True)
            assert parameter.process_value(context, str(there)) is not None
            looked.add((command.name, parameter.name))
    assert {("run", "output"), ("run", "render"), ("quantize", "save_recipe"), ("export", "file")} <= looked


def test_every_report_replaces_its_own_kind_alone(tmp_path: Path) -> None:
    there = tmp_path / "there.json"
    reporting = [(c, p) for c in COMMANDS for p in c.params if p.name == "json_target"]
    assert len(reporting) > 30
    for command, parameter in reporting:
        there.write_text("mine")
        context = click.Context(command)
        with pytest.raises(ConfigError, match="is no record of edgepose"):
            parameter.process_value(context, str(there))
        assert any(option.name == "force" for option in command.params)


def test_a_report_of_minutes_is_refused_before_they_are_spent(tmp_path: Path) -> None:
    there = tmp_path / "speed.json"
    there.write_text('{"schema": "edgepose.benchmark/1"}')
    for command in COMMANDS:
        if command.name in ("evaluate", "quantize", "distill", "convert"):
            (parameter,) = (one for one in command.params if one.name == "json_target")
            with pytest.raises(ConfigError, match="another kind"):
                parameter.process_value(click.Context(command), str(there))


def test_a_report_in_the_place_of_an_older_one_is_said(tmp_path: Path) -> None:
    target = tmp_path / "models.json"
    call = ["models", "list", "--json", str(target)]
    first, second = (CliRunner().invoke(host_program, call) for _ in range(2))
    assert "replaced" not in first.stderr
    assert f"{target}: replaced" in second.stderr
    assert json.loads(target.read_text())["schema"] == "edgepose.models/1"
    target.write_text("mine")
    refused = CliRunner().invoke(host_program, call)
    assert isinstance(refused.exception, ConfigError)
    assert target.read_text() == "mine"
    assert CliRunner().invoke(host_program, [*call, "--force"]).exit_code == 0
    assert json.loads(target.read_text())["schema"] == "edgepose.models/1"


def test_a_report_whose_kind_shows_at_the_end_replaces_no_other_kind(tmp_path: Path) -> None:
    target = tmp_path / "r.json"
    write_report({"schema": "edgepose.status/1"}, str(target))
    with pytest.raises(ConfigError, match="another kind"):
        write_report({"schema": "edgepose.rollout/1"}, str(target))
    assert json.loads(target.read_text()) == {"schema": "edgepose.status/1"}
