"""A process that reads a foreign file: each way out is tried, locked in and, as the control, as it is."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.models import locked_loader
from edgepose.host.models.locked_loader import LoaderTask, locked_command, reason_of, run_locked
from edgepose.sandbox.landlock import landlock_abi
from edgepose.sandbox.python_child import python_command

PROBE = "tests.support.loader_probe"
needs_landlock = pytest.mark.skipif(landlock_abi() == 0, reason="this kernel has no Landlock")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of the user, with a file."""
    (tmp_path / "old").write_text("the user's")
    return tmp_path


@pytest.fixture
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.keras"
    path.write_bytes(b"foreign")
    return path


def _task(
    model: Path, trick: str, place: Path, *, outputs: tuple[Path, ...] = (), timeout_s: float = 60
) -> LoaderTask:
    return LoaderTask(PROBE, [trick, str(place)], model, outputs=outputs, timeout_s=timeout_s)


def _unlocked(
    trick: str, place: Path, tmp_path: Path, *, timeout_s: float = 60
) -> subprocess.CompletedProcess[str]:
    words = python_command(PROBE, [trick, str(place)])
    return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=timeout_s)


def _changed(words: list[str], **changes: Any) -> list[str]:
    """The command with another order."""
    place = next(index for index, word in enumerate(words) if word.startswith("{"))
    return [*words[:place], json.dumps({**json.loads(words[place]), **changes}), *words[place + 1 :]]


def _without_landlock(
    task: LoaderTask, folder: Path, descriptors: list[int]
) -> subprocess.CompletedProcess[str]:
    words = _changed(locked_command(task, map(str, descriptors)), landlock=False)
    return subprocess.run(
        words, cwd=folder, capture_output=True, text=True, check=False, timeout=60, pass_fds=descriptors
    )


BY_SECCOMP = [
    *(
        "tcp",
        "unix_socket",
        "program",
        "replace_itself",
        "child",
        "truncate",
        "empty",
        "rights",
        "owner",
        "times",
    ),
    *("signal_parent", "trace", "raise_limit"),
]
BY_LANDLOCK = [
    *("write_outside", "overwrite", "remove", "rename", "folder", "link", "read_private"),
    *("parents_memory", "parents_environment"),
]


@pytest.mark.parametrize(
    "trick", [*BY_SECCOMP, *(pytest.param(name, marks=needs_landlock) for name in BY_LANDLOCK)]
)
def test_a_loader_cannot(trick: str, model: Path, place: Path) -> None:
    code, said = run_locked(_task(model, trick, place))
    assert code == 1, said
    assert "Error: " in said
    assert {path.name: path.read_text() for path in place.iterdir()} == {"old": "the user's"}


@pytest.mark.parametrize("trick", [*BY_SECCOMP, *BY_LANDLOCK])
def test_the_control_a_process_that_is_not_locked_in_can(trick: str, place: Path, tmp_path: Path) -> None:
    done = _unlocked(trick, place, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("trick", ["own_folder", "thread", "fresh_folder"])
def test_a_loader_can(trick: str, model: Path, place: Path) -> None:
    code, said = run_locked(_task(model, trick, place))
    assert code == 0, said


def test_a_loader_answers_through_files_that_were_opened_for_it(
    model: Path, place: Path, tmp_path: Path
) -> None:
    made = tmp_path / "answer"
    code, said = run_locked(_task(model, "answer", place, outputs=(made,)))
    assert (code, made.read_bytes()) == (0, b"42"), said


def test_an_output_is_never_written_through_a_link(model: Path, place: Path) -> None:
    (place / "answer").symlink_to(place / "old")
    with pytest.raises(OSError, match="symbolic links"):
        run_locked(_task(model, "answer", place, outputs=(place / "answer",)))
    assert (place / "old").read_text() == "the user's"


def test_nothing_is_left_and_nothing_of_the_environment_goes_in(
    model: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPOSE_PASSPHRASE", "secret")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    code, said = run_locked(_task(model, "fresh_folder", place))
    assert code == 0, said
    folder = Path(said.split()[0])
    assert not folder.exists()
    assert "SECRET" not in said
    assert "PASSPHRASE" not in said


@pytest.mark.parametrize(
    ("trick", "limit", "said"),
    [("memory", "_LEAST_MEMORY_BYTES", "MemoryError"), ("large_file", "_LEAST_FILE_BYTES", "File too large")],
)
def test_memory_and_files_are_limited(
    trick: str,
    limit: str,
    said: str,
    model: Path,
    place: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(locked_loader, limit, 1 << 28)
    code, text = run_locked(_task(model, trick, place))
    assert code == 1
    assert said in text
    # The control: with a limit that is wide enough.
    monkeypatch.setattr(locked_loader, limit, 1 << 33)
    assert run_locked(_task(model, trick, place))[0] == 0


def test_a_flood_of_words_is_limited_and_only_its_end_is_read(model: Path, place: Path) -> None:
    code, said = run_locked(_task(model, "flood", place))
    assert code != 0
    assert len(said) <= 1 << 16


def test_a_loader_that_does_not_end_is_killed_and_told(model: Path, place: Path) -> None:
    with pytest.raises(ModelError, match="busy for more than 2 s"):
        run_locked(_task(model, "forever", place, timeout_s=2))


def test_processor_time_is_limited_by_the_kernel_itself(model: Path, place: Path, tmp_path: Path) -> None:
    task = _task(model, "computing", place, timeout_s=60)
    words = locked_command(task)
    limits = {"memory_bytes": 1 << 32, "file_bytes": 1 << 20, "cpu_s": 1}
    words = _changed(words, limits=limits)
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode < 0
    assert reason_of(done.returncode, done.stderr).startswith("it ")


@pytest.mark.parametrize("trick", ["sealed_write", "write_outside_sealed"])
def test_without_landlock_nothing_is_opened_for_writing_once_the_file_is_taken_in(
    trick: str, model: Path, place: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own-folder"
    own.mkdir()
    done = _without_landlock(_task(model, trick, place), own, [])
    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    # The control: with Landlock its own folder stays open to it.
    if landlock_abi() and trick == "sealed_write":
        assert run_locked(_task(model, trick, place))[0] == 0


def test_without_landlock_an_answer_still_comes_back(model: Path, place: Path, tmp_path: Path) -> None:
    reader, writer = os.pipe()
    done = _without_landlock(_task(model, "sealed_answer", place), tmp_path, [writer])
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        assert (done.returncode, stream.read()) == (0, b"42"), done.stderr


@needs_landlock
def test_a_kernel_that_cannot_lock_is_an_error_and_no_fallback(
    model: Path, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = _task(model, "thread", place)
    # A rule that cannot be made stands for a filter that the kernel does not take.
    command = _changed(locked_command(task), readable=["no\0path"])
    monkeypatch.setattr(locked_loader, "locked_command", lambda _task, _numbers: command)
    with pytest.raises(MissingDependencyError, match="this kernel locks none"):
        run_locked(task)
