"""``edgepose.toml``: one target or none, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from edgepose.cli.deploy import command
from edgepose.errors import ConfigError
from edgepose.records.deployment_report import project_target


def test_no_file_and_no_target_are_none(tmp_path: Path) -> None:
    assert project_target(tmp_path / "edgepose.toml") is None
    (tmp_path / "edgepose.toml").write_text("")
    assert project_target(tmp_path / "edgepose.toml") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[target]\nhost = "a"\nroot = "b"\n', "expected one of host, root, inventory, found host, root"),
        ("[target]\n", "found none"),
        ('[target]\nhots = "a"\n', "hots"),
        ('[traget]\nhost = "a"\n', "traget"),
    ],
)
def test_a_mistake_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "edgepose.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=words):
        project_target(path)


def test_deploy_takes_the_projects_target_and_the_command_line_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("edgepose.toml").write_text('[target]\ninventory = "missing.yml"\n')
    call = ["--profile", "raspberrypi", "--dry-run"]
    taken = CliRunner().invoke(command, call)
    assert isinstance(taken.exception, ConfigError)
    assert "There is no inventory missing.yml" in str(taken.exception)
    named = CliRunner().invoke(command, [*call, "--root", "here"])
    assert named.exit_code == 0, named.exception
