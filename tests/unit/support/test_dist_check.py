"""What ``make dist-check`` refuses; that a real wheel passes is what the command itself shows."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.dist_check import DistError, check_members, members


def test_a_file_that_is_missing_is_named() -> None:
    with pytest.raises(DistError, match=r"missing: edgepose/py\.typed"):
        check_members(["edgepose/__init__.py"], ["edgepose/py.typed"])


@pytest.mark.parametrize("stray", ["tests/conftest.py", "edgepose/__pycache__/x.pyc", "build/x"])
def test_a_file_that_does_not_belong_into_the_wheel_is_named(stray: str) -> None:
    with pytest.raises(DistError, match="does not belong there"):
        check_members(["edgepose/__init__.py", stray], ["edgepose/__init__.py"], ("edgepose/",))


def test_what_is_whole_passes() -> None:
    check_members(["edgepose/__init__.py", "edgepose-0.1.0.dist-info/RECORD"], [], ("edgepose/", "edgepose-"))


def test_folders_are_no_members(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as wheel:
        wheel.mkdir("edgepose")
        wheel.writestr("edgepose/__init__.py", "")
    assert members(tmp_path / "a.whl") == ["edgepose/__init__.py"]
