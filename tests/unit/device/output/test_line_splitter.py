"""Lines out of pieces; one without an end costs no memory and no line after it."""

from __future__ import annotations

from edgepose.device.output.line_splitter import LONGEST_LINE_BYTES, LineSplitter


def test_lines_come_whole_however_they_are_cut() -> None:
    text = b"one\ntwo\n\nthree\n"
    for size in range(1, len(text) + 1):
        lines = LineSplitter()
        got = [line for at in range(0, len(text), size) for line in lines.take(text[at : at + size])]
        assert got == [b"one\n", b"two\n", b"\n", b"three\n"]


def test_a_line_without_an_end_is_left_out_and_the_next_one_comes() -> None:
    lines = LineSplitter()
    assert lines.take(b"before\nx") == [b"before\n"]
    for _ in range(40):
        assert lines.take(b"x" * (LONGEST_LINE_BYTES // 8)) == []
        assert len(lines._rest) <= LONGEST_LINE_BYTES
    assert lines.take(b"the end of it\nafter\nbeg") == [b"after\n"]
    assert lines.take(b"un\n") == [b"begun\n"]
    assert lines.left_out == 1


def test_a_line_just_short_enough_comes() -> None:
    lines = LineSplitter()
    assert lines.take(b"x" * LONGEST_LINE_BYTES) == []
    assert lines.take(b"\n") == [b"x" * LONGEST_LINE_BYTES + b"\n"]
