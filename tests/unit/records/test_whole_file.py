"""Files that are whole or not there, for their owner alone, and written through no link."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgepose.errors import ConfigError
from edgepose.records.files import (
    READABLE,
    atomic_file,
    open_appending,
    open_growing,
    refuse_existing,
    refuse_other_record,
    temporary_beside,
    write_whole,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
def test_a_file_is_its_owners_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_whole(tmp_path / "whole", [b"a"])
        os.close(open_growing(tmp_path / "growing"))
        os.close(open_appending(tmp_path / "appended"))
        write_whole(tmp_path / "unit", [b"a"], READABLE)
    finally:
        os.umask(before)
    assert [mode_of(tmp_path / name) for name in ("whole", "growing", "appended")] == [0o600] * 3
    assert mode_of(tmp_path / "unit") == 0o644


def test_an_older_file_that_others_may_read_becomes_private(tmp_path: Path) -> None:
    for name in ("whole", "growing"):
        (tmp_path / name).write_text("before")
        (tmp_path / name).chmod(0o666)
    write_whole(tmp_path / "whole", [b"new"])
    os.close(open_growing(tmp_path / "growing"))
    assert (mode_of(tmp_path / "whole"), mode_of(tmp_path / "growing")) == (0o600, 0o600)


def test_a_link_at_the_target_is_replaced_and_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("whole", "growing"):
        (tmp_path / name).symlink_to(victim)
    write_whole(tmp_path / "whole", [b"new"])
    os.close(open_growing(tmp_path / "growing"))
    assert victim.read_text() == "mine"
    assert not (tmp_path / "whole").is_symlink()
    assert not (tmp_path / "growing").is_symlink()


def test_nothing_is_added_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        open_appending(tmp_path / "log")
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_link_that_somebody_laid_where_the_temporary_file_goes_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim, trap = tmp_path / "victim", tmp_path / "trap"
    victim.write_text("mine")
    trap.symlink_to(victim)
    # Nobody can foresee the name; even where somebody could:
    monkeypatch.setattr("edgepose.records.files.temporary_beside", lambda _path: trap)
    with pytest.raises(ConfigError, match="File exists"):
        write_whole(tmp_path / "target", [b"new"])
    with pytest.raises(FileExistsError):
        open_growing(tmp_path / "target")
    assert victim.read_text() == "mine"
    assert trap.is_symlink()


def test_temporary_names_cannot_be_foreseen_and_fit_beside_long_names(tmp_path: Path) -> None:
    target = tmp_path / ("n" * 250)
    found = {temporary_beside(target).name for _ in range(100)}
    assert len(found) == 100
    assert not any(str(os.getpid()) in name.split(".")[2] and len(name) < 16 for name in found)
    write_whole(target, [b"a"])
    assert names(tmp_path) == [target.name]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_whole(tmp_path / "f", [b"old"])

    def broken() -> None:
        with atomic_file(tmp_path / "f") as stream:
            stream.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        broken()
    assert (tmp_path / "f").read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_a_pipe_or_device_is_written_to_as_it_is(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    for opened in (open_growing, open_appending):
        writing = opened(tmp_path / "pipe")
        os.write(writing, b"line")
        assert os.read(reading, 10) == b"line"
        os.close(writing)
    os.close(reading)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(open_growing(Path(os.devnull)))
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_lines_are_added_to_those_that_are_there(tmp_path: Path) -> None:
    for line in (b"a\n", b"b\n"):
        descriptor = open_appending(tmp_path / "lines")
        os.write(descriptor, line)
        os.close(descriptor)
    assert (tmp_path / "lines").read_bytes() == b"a\nb\n"


def test_what_is_there_is_replaced_by_force_alone_and_only_where_it_is_a_file(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "new", force=False)
    (tmp_path / "kept_by_mktemp").touch()
    refuse_existing(tmp_path / "kept_by_mktemp", force=False)
    assert not refuse_other_record(tmp_path / "kept_by_mktemp", (), force=False)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ConfigError, match="is there already"):
        refuse_existing(tmp_path / "file", force=False)
    refuse_existing(tmp_path / "file", force=True)
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    for name, kind in (("link", "a link"), ("dangling", "a link"), (".", "a folder")):
        with pytest.raises(ConfigError, match=kind):
            refuse_existing(tmp_path / name, force=True)
    with pytest.raises(ConfigError, match="no file"):
        refuse_existing(Path(os.devnull), force=True)


@pytest.mark.parametrize(
    "content", ["{}", "[" * 100_000, '{"schema": 1}', '{"schema": "others.record/1"}', "a model", "[1]"]
)
def test_what_is_no_record_of_edgepose_is_not_replaced_by_one(tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match="is no record of edgepose"):
        refuse_other_record(path, ["edgepose.run/1"], force=False)
    assert refuse_other_record(path, ["edgepose.run/1"], force=True)


def test_a_record_takes_the_place_of_its_own_kind_alone(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    assert not refuse_other_record(path, ["edgepose.run/1"], force=False)
    path.write_text('{"figure": 1, "schema": "edgepose.run/1"}')
    assert refuse_other_record(path, ["edgepose.run/2"], force=False)
    assert refuse_other_record(path, [], force=False)
    with pytest.raises(ConfigError, match=r"another kind \(edgepose\.run\)"):
        refuse_other_record(path, ["edgepose.evaluation/1"], force=False)
