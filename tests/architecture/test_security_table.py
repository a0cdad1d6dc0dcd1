"""SECURITY.md promises what a test proves, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.proofs_ran import not_proved, outcomes
from tests.support.security_table import PROJECT, problems, read_table

_ATTACKERS = {
    "stolen card", "neighbour on the network", "hostile model file", "hostile data set", "hostile device",
    "update server", "local user of the device", "local user of the host", "the service, taken over",
}  # fmt: skip
_HEAD = "| attacker | promise | proved by |\n|---|---|---|\n"


def table(proof: str) -> str:
    return f"{_HEAD}| stolen card | It holds. | {proof} |\n"


def test_every_promise_names_tests_that_are_there_and_run() -> None:
    rows = read_table((PROJECT / "SECURITY.md").read_text(encoding="utf-8"))
    assert problems(rows) == []
    assert {row.attacker for row in rows} >= _ATTACKERS
    assert len({row.promise for row in rows}) == len(rows)


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text(
        "import pytest\n"
        "def test_good() -> None: ...\n"
        "@pytest.mark.skip(reason='later')\n"
        "def test_never() -> None: ...\n"
        "@pytest.mark.vm\n"
        "def test_machine() -> None: ...\n"
    )
    (tmp_path / "tests" / "test_b.py").write_text(
        "import pytest\npytestmark = [pytest.mark.skip]\ndef test_good() -> None: ...\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    ("proof", "problem"),
    [
        ("`tests/test_a.py::test_good`", None),
        ("`tests/test_a.py::test_machine` (vm)", None),
        ("`tests/test_a.py::test_gone`", "no such test"),
        ("`tests/test_c.py::test_good`", "no such file"),
        ("`tests/test_a.py::test_never`", "always skipped"),
        ("`tests/test_b.py::test_good`", "always skipped"),
        ("`tests/test_a.py::test_machine`", "(vm)"),
        ("`tests/test_a.py::test_good` (vm)", "(vm)"),
        ("`tests/test_a.py::test_good`, `tests/test_a.py::test_gone`", "no such test"),
    ],
)
def test_a_test_that_is_missing_or_never_runs_is_found(
    project: Path, proof: str, problem: str | None
) -> None:
    found = problems(read_table(table(proof)), project)
    assert len(found) == (problem is not None)
    assert problem is None or problem in found[0]


@pytest.mark.parametrize(
    "proof", ["", "a test", "`tests/test_a.py`", "`tests/test_a.py::test_good` and more"]
)
def test_a_row_without_a_proof_is_refused(proof: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        read_table(table(proof))


def test_a_page_without_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="no table"):
        read_table("# Security\n")


def results(path: Path, *cases: tuple[str, str]) -> Path:
    """What pytest writes."""
    text = "".join(
        f'<testcase classname="tests.test_a" name="{name}">{inner}</testcase>' for name, inner in cases
    )
    path.write_text(f"<testsuites><testsuite>{text}</testsuite></testsuites>")
    return path


_SKIPPED = '<skipped type="pytest.skip" message="needs sshd"/>'


def test_a_proof_that_was_skipped_everywhere_or_failed_is_no_proof(tmp_path: Path) -> None:
    rows = read_table(table("`tests/test_a.py::test_good`"))
    passed = results(tmp_path / "passed.xml", ("test_good[a]", ""), ("test_good[b]", _SKIPPED))
    skipped = results(tmp_path / "skipped.xml", ("test_good[a]", _SKIPPED), ("test_other", ""))
    failed = results(
        tmp_path / "failed.xml", ("test_good[a]", '<failure message="no"/>'), ("test_good[b]", "")
    )
    assert not_proved(rows, outcomes([passed]), in_vm=False) == []
    assert not_proved(rows, outcomes([skipped, passed]), in_vm=False) == []
    (line,) = not_proved(rows, outcomes([skipped]), in_vm=False)
    assert "skipped: needs sshd" in line
    (line,) = not_proved(rows, outcomes([failed]), in_vm=False)
    assert "failure: no" in line
    (line,) = not_proved(rows, outcomes([results(tmp_path / "none.xml")]), in_vm=False)
    assert "did not run" in line


def test_the_proofs_of_the_virtual_machine_are_asked_for_alone(tmp_path: Path) -> None:
    rows = read_table(table("`tests/test_a.py::test_good`, `tests/test_a.py::test_machine` (vm)"))
    none = outcomes([results(tmp_path / "none.xml")])
    assert [line.split(":")[2] for line in not_proved(rows, none, in_vm=True)] == ["test_machine"]
    assert [line.split(":")[2] for line in not_proved(rows, none, in_vm=False)] == ["test_good"]
