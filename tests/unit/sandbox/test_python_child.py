"""What a Python child gets: its import path, its environment, its folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.sandbox.python_child import (
    child_environment,
    import_folders,
    python_command,
    run_python,
    run_words,
    start_python,
)
from tests.conftest import PROJECT


@pytest.fixture
def reporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module that says what it was started with, in a folder of this process's path."""
    folder = tmp_path / "imports"
    folder.mkdir()
    (folder / "reporter_of_a_child.py").write_text(
        "import json, os, sys\n"
        "import edgepose\n"
        "print(json.dumps({'path': sys.path, 'argv': sys.argv[1:], 'cwd': os.getcwd(), 'name': __name__,\n"
        "  'isolated': sys.flags.isolated, 'edgepose': edgepose.__file__, 'environment': {**os.environ}}))\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    return "reporter_of_a_child"


def test_a_child_is_isolated_and_imports_what_its_parent_imports(reporter: str) -> None:
    done = run_python(reporter, ["one", "two words"])
    said = json.loads(done.stdout)
    assert said["argv"] == ["one", "two words"]
    assert (said["isolated"], said["cwd"], said["name"]) == (1, "/", "__main__")
    assert said["edgepose"] == str(PROJECT / "edgepose" / "__init__.py")
    assert all(entry.startswith("/") for entry in said["path"])
    ours = import_folders()
    assert said["path"][: len(ours)] == ours


def test_a_started_child_talks_through_its_pipes(reporter: str, tmp_path: Path) -> None:
    process = start_python(reporter, cwd=tmp_path, changes={"KERAS_BACKEND": "jax"}, stdout=subprocess.PIPE)
    said = json.loads(process.communicate()[0])
    assert said["cwd"] == str(tmp_path)
    assert said["environment"]["KERAS_BACKEND"] == "jax"


def test_another_interpreter_is_isolated_and_keeps_its_own_imports() -> None:
    assert python_command("pip", ["list"], python="/x/python") == ["/x/python", "-I", "-m", "pip", "list"]


def test_the_working_folder_the_programs_folder_and_relative_entries_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working, programs, kept = (tmp_path / name for name in ("working", "bin", "kept"))
    for folder in (working, programs, kept):
        folder.mkdir()
    monkeypatch.chdir(working)
    monkeypatch.setattr(sys, "argv", [str(programs / "edgepose")])
    monkeypatch.setattr(sys, "path", ["", ".", "lib", str(working), str(programs), str(kept)])
    assert import_folders() == [str(PROJECT), str(kept)]


def test_the_folder_of_edgepose_stays_where_somebody_works_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(PROJECT)
    monkeypatch.setattr(sys, "path", [str(PROJECT), "/somewhere"])
    assert import_folders() == [str(PROJECT), "/somewhere"]


def test_a_working_folder_that_is_gone_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    # A program whose name is relative lies nowhere then.
    for name in ("edgepose", "/usr/bin/edgepose"):
        monkeypatch.setattr(sys, "argv", [name])
        assert str(PROJECT) in import_folders()
    assert run_words(["/bin/pwd"]).stdout == "/\n"


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("PATH", ".:/usr/bin::bin:/bin:", "/usr/bin:/bin"),
        ("LD_LIBRARY_PATH", ":/opt/lib", "/opt/lib"),
        ("GST_PLUGIN_PATH_1_0", "plugins:/opt/gst", "/opt/gst"),
        ("XDG_DATA_DIRS", "share:/usr/share", "/usr/share"),
        # Jetsons need the first (NVIDIA's forum): a library of the system, by name or place.
        (
            "LD_PRELOAD",
            "libgomp.so.1 ./evil.so:/usr/lib/libjemalloc.so",
            "libgomp.so.1 /usr/lib/libjemalloc.so",
        ),
    ],
)
def test_lists_of_folders_lose_what_means_the_working_folder(
    name: str, before: str, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, before)
    assert child_environment()[name] == after


def test_variables_of_python_are_dropped_and_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONSTARTUP", "PYTHONHOME", "PYTHONINSPECT"):
        monkeypatch.setenv(name, "evil")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    found = child_environment({"LC_ALL": "C"})
    assert not [name for name in found if name.startswith("PYTHON")]
    assert (found["OMP_NUM_THREADS"], found["LC_ALL"], found["HOME"]) == ("3", "C", os.environ["HOME"])


def test_what_a_program_says_is_text_whatever_bytes_it_writes() -> None:
    assert run_words(["/bin/sh", "-c", r"printf 'a\377b'"]).stdout == "a\ufffdb"
