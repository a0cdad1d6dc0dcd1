"""`edgepose models list` names what is built in and what has a spec."""

from __future__ import annotations

import json

from click.testing import CliRunner

from edgepose.cli.main import command
from edgepose.trust.builtin_models import find_builtin_models
from edgepose.trust.digests import sha256_of_file


def test_built_in_models_and_ready_specs_are_listed() -> None:
    shown = CliRunner().invoke(command, ["models", "list"])
    assert shown.exit_code == 0, shown.output
    listed = json.loads(CliRunner().invoke(command, ["models", "list", "--json", "-"]).stdout)
    folder = find_builtin_models().folder
    assert {"pose", "detector"} == {entry["role"] for entry in listed["builtin"]["files"]}
    for entry in listed["builtin"]["files"]:
        assert entry["file"] in shown.output
        assert sha256_of_file(folder / entry["file"]) == entry["sha256"]
    assert "yolox_nano" in shown.output
    assert "yolox_nano" in {model["name"] for model in listed["models"]}
