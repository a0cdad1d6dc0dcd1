"""The command that makes the locks: for another Python than this one, and changing nothing unasked."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edgepose.host.bundle.device_lock import LockedWheel, parse_lock
from requirements import renew_locks
from requirements.renew_locks import LockError, Resolved, Target, closure, difference, licence_of
from tests.support.tiny_wheels import use_index, write_wheel

PROJECT = """
[project]
name = "edgepose"
dependencies = ["demo>=1.0", "tomlish; python_version < '3.11'"]

[project.optional-dependencies]
onnxruntime = ["extra>=1.0"]
"""


@pytest.fixture(name="index")
def _index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index, and a project with locks of its own."""
    index = tmp_path / "index"
    index.mkdir()
    write_wheel(index, "demo", "1.0", ["older; python_version < '3.11'", "newer; python_version >= '3.11'"])
    for name in ("tomlish", "older", "newer", "extra"):
        write_wheel(index, name, "1.0")
    here = tmp_path / "project" / "requirements"
    here.mkdir(parents=True)
    (here.parent / "pyproject.toml").write_text(PROJECT)
    monkeypatch.setattr(renew_locks, "HERE", here)
    # The floor is for licences, which the real locks record.
    monkeypatch.setattr(renew_locks, "MIN_PIP", 22)
    use_index(index, monkeypatch)
    return index


def locked(target: str, upgrade: set[str] | None = None) -> dict[str, str]:
    ((path, text),) = renew_locks.device_locks(upgrade or set(), target).items()
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return {wheel.name: wheel.version for wheel in parse_lock(target, text).wheels}


def test_markers_count_for_the_device_and_not_for_the_python_that_runs_pip(index: Path) -> None:
    assert set(locked("aarch64-3.10")) == {"demo", "tomlish", "older"}
    assert set(locked("aarch64-3.12")) == {"demo", "newer"}
    assert set(locked("aarch64-3.12-onnxruntime")) == {"demo", "newer", "extra"}


def test_a_new_release_changes_a_lock_only_when_asked(index: Path) -> None:
    assert locked("aarch64-3.12")["demo"] == "1.0"
    write_wheel(index, "demo", "2.0")
    assert locked("aarch64-3.12") == {"demo": "1.0", "newer": "1.0"}
    assert locked("aarch64-3.12", {"newer"})["demo"] == "1.0"
    assert locked("aarch64-3.12", {"demo"}) == {"demo": "2.0"}


def test_what_fits_nothing_is_said_and_no_lock_is_written(index: Path) -> None:
    (index / "demo-1.0-py3-none-any.whl").unlink()
    with pytest.raises(LockError, match="nothing fits"):
        locked("aarch64-3.12")
    assert list(renew_locks.HERE.iterdir()) == []
    with pytest.raises(LockError, match="ARCH-PYTHON"):
        locked("aarch64-latest")


def resolved(name: str, version: str, *requires: str) -> Resolved:
    wheel = LockedWheel(name, version, f"{name}-{version}-py3-none-any.whl", "0" * 64, None)
    return Resolved(wheel, tuple(map(Requirement, requires)))


def test_a_requirement_of_an_extra_counts_only_where_the_extra_is_wanted() -> None:
    found = {
        "a": resolved("a", "1", "b[x]"),
        "b": resolved("b", "1", "c; extra == 'x'", "d; extra == 'y'"),
        "c": resolved("c", "1", "a>=2"),
        "unused": resolved("unused", "1"),
    }
    needed, missing = closure([Requirement("a")], Target("aarch64", "3.11"), found)
    assert (needed, missing) == ({"a", "b", "c"}, {"a>=2"})
    assert closure([Requirement("a[z]")], Target("aarch64", "3.11"), {"a": resolved("a", "1")})[1] == set()


def test_a_licence_is_an_expression_or_the_projects_own_short_words() -> None:
    classifier = "License :: OSI Approved :: Apache Software License"
    assert licence_of({"license_expression": "MIT OR 0BSD", "license": "x"}) == "MIT OR 0BSD"
    assert licence_of({"classifier": [classifier], "license": "see file"}) == "Apache-2.0"
    assert licence_of({"classifier": ["License :: OSI Approved :: BSD License"]}) == '"BSD License"'
    assert licence_of({"license": "line\nline"}) is None
    assert licence_of({}) is None


def test_changes_are_named() -> None:
    old, new = "a==1 --hash=sha256:" + "0" * 64 + "\nb==1\n", "a==2 --hash=sha256:" + "0" * 64 + "\nc==1\n"
    assert difference(old, old) == "unchanged"
    assert difference("", new) == "new, 2 projects"
    assert difference(old, new) == "a 1 -> 2, b 1 -> -, c - -> 1"
    assert difference(old, "# said\n" + old) == "the same wheels, other comments"
    assert difference(old, old.replace("0" * 64, "1" * 64)) == "the same versions, other wheels"
