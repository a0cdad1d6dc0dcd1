"""The locked side environment: when it counts as ready, and what its lock file promises."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.convert.routes import convert_with_onnx2tf
from edgepose.host.tools.installation import STAMP_NAME, TOOLS, Tool, install_tool, tool_folder, tool_python
from edgepose.trust.digests import sha256_of_file
from tests.support.tiny_networks import write_tiny_onnx

ONNX2TF = TOOLS["onnx2tf"]


@pytest.fixture(autouse=True)
def _tools_of_this_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEPOSE_TOOLS_DIR", str(tmp_path / "tools"))


def _pretend_installed(digest: str) -> None:
    folder = tool_folder(ONNX2TF)
    (folder / "bin").mkdir(parents=True)
    (folder / STAMP_NAME).write_text(digest + "\n")


def test_a_missing_tool_names_the_command_that_brings_it() -> None:
    with pytest.raises(MissingDependencyError, match="edgepose tools install onnx2tf") as caught:
        tool_python("onnx2tf")
    assert caught.value.exit_code == 4


def test_a_route_that_needs_a_missing_tool_ends_with_exit_code_4(tmp_path: Path) -> None:
    with pytest.raises(MissingDependencyError, match="edgepose tools install onnx2tf"):
        convert_with_onnx2tf(write_tiny_onnx(tmp_path / "model.onnx"))


def test_the_stamp_of_this_lock_file_makes_it_ready() -> None:
    _pretend_installed(sha256_of_file(ONNX2TF.lock))
    assert tool_python("onnx2tf") == tool_folder(ONNX2TF) / "bin" / "python"
    assert install_tool("onnx2tf") == tool_folder(ONNX2TF)


@pytest.mark.parametrize("digest", ["0" * 64, ""])
def test_an_environment_of_another_lock_file_or_without_a_stamp_is_not_ready(digest: str) -> None:
    _pretend_installed(digest)
    with pytest.raises(MissingDependencyError):
        tool_python("onnx2tf")


def test_an_unknown_tool_is_refused() -> None:
    with pytest.raises(ConfigError, match="onnx2tf"):
        install_tool("rm")


def test_the_default_place_is_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEPOSE_TOOLS_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert tool_folder(ONNX2TF) == tmp_path / "cache" / "edgepose" / "tools" / "onnx2tf"


def test_every_requirement_is_exact_and_hashed_and_no_host_is_named() -> None:
    text = ONNX2TF.lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    joined = text.replace("\\\n", " ")
    requirements = [line for line in joined.splitlines() if line and not line.startswith("#")]
    assert len(requirements) > 50
    for line in requirements:
        assert re.match(r"[a-z0-9-]+==[0-9][^ ]* .*--hash=sha256:[0-9a-f]{64}", line), line
    assert any(line.startswith("onnx2tf==1.29.24 ") for line in requirements)


@pytest.mark.slow
def test_an_installation_that_fails_is_not_taken_for_a_good_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("nothing-of-this-name==1.0 --hash=sha256:" + "0" * 64 + "\n")
    broken = Tool("onnx2tf", lock, (sys.version_info[:2],))
    monkeypatch.setitem(TOOLS, "onnx2tf", broken)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(MissingDependencyError, match="nothing-of-this-name"):
        install_tool("onnx2tf")
    assert tool_folder(broken).is_dir()
    with pytest.raises(MissingDependencyError):
        tool_python("onnx2tf")
