"""Tables and reports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgepose.cli.output import coloured, progress_bar, show, show_bug, table, write_report
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


def test_a_report_holds_no_character_that_a_terminal_obeys(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"name": "a\x1b[2J\x7f\x9b1m\u202eb", "plain": "ä"}
    write_report(record, "-")
    write_report(record, str(tmp_path / "r.json"), table(("name",), [("x\x1b[2J\ny",)]))
    shown, written = capsys.readouterr().out, (tmp_path / "r.json").read_text()
    for text in (shown, written):
        assert not {"\x1b", "\x7f", "\x9b", "\u202e"} & set(text)
    assert json.loads(written) == record
    assert r"x\x1b[2J\ny" in shown


def test_a_colour_of_ours_reaches_a_terminal_and_one_from_outside_does_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("click._compat.isatty", lambda _stream: True)
    show(f"{coloured('ours', 'cyan')} \x1b[36mtheirs\x1b[0m \ue0000:cyan\ue000x\ue0000:\ue000")
    assert capsys.readouterr().out == (
        "\x1b[36mours\x1b[0m \\x1b[36mtheirs\\x1b[0m \ue0000:cyan\ue000x\ue0000:\ue000\n"
    )


def test_a_bug_is_shown_whole_with_nothing_hidden(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        {}["\x1b[2J rtsp://u:S3cret@h/live"]
    except KeyError as problem:
        show_bug(problem)
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "KeyError" in said
    assert "\x1b" not in said
    assert "S3cret" not in said
