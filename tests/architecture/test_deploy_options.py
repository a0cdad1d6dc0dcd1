"""An option of ``deploy`` touches few files: those of the installer are declared once and handed on whole."""

from __future__ import annotations

import re

import pytest

from edgepose.cli import deploy, device_install, install
from edgepose.records.deployment_report import InstallOptions
from tests.conftest import PROJECT

PACKAGE = PROJECT / "edgepose"
MOST_FILES = 4


def files_that_name(option: str) -> set[str]:
    """Host-side files that an option goes through, records and commands among them, as a name or in words."""
    named = re.compile(rf"\b_?{option}(?:_option)?\b|--{option.replace('_', '-')}\b")
    rooms = (PACKAGE / room for room in ("cli", "host", "records", "api"))
    found = (path for room in rooms for path in room.rglob("*.py"))
    return {
        str(path.relative_to(PACKAGE)) for path in found if named.search(path.read_text(encoding="utf-8"))
    }


@pytest.mark.parametrize("option", ["allow_downgrade", "float_parent", "host_fingerprint", "failure_limit"])
def test_an_option_of_deploy_goes_through_few_files(option: str) -> None:
    found = files_that_name(option)
    assert 1 <= len(found) <= MOST_FILES, found


def test_every_field_of_the_installer_is_an_option_wherever_a_bundle_is_installed() -> None:
    for command in (deploy.command, install.command, device_install.command):
        names = {parameter.name for parameter in command.params}
        assert names >= set(InstallOptions.__struct_fields__)


def test_what_is_given_here_is_said_to_a_device_in_the_same_words() -> None:
    assert InstallOptions().words() == []
    assert InstallOptions(allow_downgrade=True).words() == ["--allow-downgrade"]
