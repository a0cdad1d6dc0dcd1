"""The CI file covers what is promised, and what is locked is what it says is locked."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from requirements.renew_locks import DEVICE_ARCHS, DEVICE_PYTHONS, HOST_PYTHONS
from tests.conftest import PROJECT

WORKFLOW = PROJECT / ".github" / "workflows" / "ci.yml"
PROMISED = ["3.10", "3.11", "3.12", "3.13", "3.14"]


@pytest.fixture(name="jobs")
def _jobs() -> dict[str, Any]:
    jobs: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]
    return jobs


def test_the_device_side_runs_on_every_python_and_architecture(jobs: dict[str, Any]) -> None:
    matrix = jobs["device"]["strategy"]["matrix"]
    assert matrix["python"] == PROMISED
    assert set(matrix["arch"]) == set(DEVICE_ARCHS)


def test_the_host_side_runs_on_every_python_that_is_locked_for_it(jobs: dict[str, Any]) -> None:
    matrix = jobs["host"]["strategy"]["matrix"]
    assert matrix["python"] == list(HOST_PYTHONS)
    assert set(matrix["arch"]) == set(DEVICE_ARCHS)


def test_it_says_which_pythons_have_no_lock() -> None:
    unlocked = [python for python in PROMISED if python not in DEVICE_PYTHONS]
    assert unlocked == ["3.14"]
    assert re.search(r"# .*3\.14 has none yet", WORKFLOW.read_text(encoding="utf-8"))


def test_every_make_target_that_it_calls_is_there(jobs: dict[str, Any]) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    steps = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    called = [name for run in steps for name in re.findall(r"^make ([a-z-]+)", run, re.MULTILINE)]
    assert called
    assert set(called) <= set(targets)


@pytest.mark.parametrize("template", sorted((PROJECT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=str)
def test_an_issue_template_can_be_read(template: Any) -> None:
    described = yaml.safe_load(template.read_text(encoding="utf-8"))
    if template.stem != "config":
        assert {"name", "description", "body"} <= set(described)
