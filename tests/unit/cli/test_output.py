"""Tables and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.cli.output import progress_bar, table, write_report
from edgepose.errors import ConfigError


def test_a_table_aligns_text_left_and_numbers_right() -> None:
    text = table(("name", "ms"), [("a", 1.5), ("long", 22), ("none", None)])
    assert text.splitlines() == ["name   ms", "----  ---", "a     1.5", "long   22", "none    -"]


def test_a_table_without_rows_has_its_headers() -> None:
    assert table(("name", "ms"), []).splitlines() == ["name  ms", "----  --"]


def test_a_figure_that_is_no_number_never_reaches_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report({"ap": float("nan")}, str(tmp_path / "r.json"))
    assert list(tmp_path.iterdir()) == []


def test_a_file_name_that_is_not_utf8_is_written_as_json_spells_it(tmp_path: Path) -> None:
    name = b"caf\xe9.jpg".decode(errors="surrogateescape")
    write_report({"file": name, "plain": "ä"}, str(tmp_path / "r.json"))
    content = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(content) == {"file": name, "plain": "ä"}
    assert "ä" in content


def test_the_old_file_stays_whole_when_the_new_one_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "r.json"
    old = '{"schema": "edgepose.run/1"}'
    target.write_text(old)

    def full_disk(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(ConfigError, match="No space left"):
        write_report({"schema": "edgepose.run/1", "new": 1}, str(target))
    assert target.read_text() == old
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_progress_is_silent_unless_a_terminal_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("label") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")
