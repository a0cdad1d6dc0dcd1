"""Markdown in which no text from outside can become markup.

Every function that takes text escapes it; what it returns is markup. A table cell therefore stays a cell,
whatever a file name or a note contains. Syntax: CommonMark 0.31 and GitHub's tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from edgepose.host.report.wording import plain_letter

# An underscore inside a word, as in left_eye, means nothing.
_SPECIAL = re.compile(r"[\\`*\[\]#~!$&<>|]|(?<![^\W_])_|_(?![^\W_])")
# A pipe as an entity: a backslash in front of it could itself be escaped.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_BLOCK_START = re.compile(r"^(?:[-+=]|\d+(?=[.)]))")


class Code(NamedTuple):
    """A cell in the letters of a program, such as a digest."""

    value: str


Cell = str | Code


def text(value: str) -> str:
    """One line of plain text that reads as it was written, wherever it stands in a line."""
    return _SPECIAL.sub(lambda found: _ENTITIES.get(found[0], "\\" + found[0]), _one_line(value))


def code(value: str) -> str:
    """The same in the letters of a program, where that is possible without a way out."""
    plain = _one_line(value)
    if not plain or any(letter in plain for letter in "`|\\"):
        return text(value)
    return f"`{plain}`"


def paragraph(value: str) -> str:
    """Plain text as a block of its own, which no first letter turns into a list or a heading."""
    escaped = text(value)
    start = _BLOCK_START.match(escaped)
    if start is None:
        return escaped
    return f"\\{escaped}" if not start[0].isdigit() else f"{start[0]}\\{escaped[start.end() :]}"


def bullets(values: Iterable[str]) -> str:
    """A list of plain texts."""
    return "\n".join(f"- {paragraph(value)}" for value in values)


def table(headers: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table of plain texts; numbers are given as text."""
    lines = [_row(headers), "|" + " --- |" * len(headers), *map(_row, rows)]
    return "\n".join(lines)


def code_block(lines: Iterable[str]) -> str:
    """Commands as they are typed; a fence longer than any inside."""
    content = "\n".join("".join(c if c == "\n" else plain_letter(c) for c in line) for line in lines)
    longest = max((len(run) for run in re.findall("`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{content}\n{fence}"


def _row(cells: Sequence[Cell]) -> str:
    shown = (code(cell.value) if isinstance(cell, Code) else text(cell) for cell in cells)
    return "| " + " | ".join(shown) + " |"


def _one_line(value: str) -> str:
    return " ".join("".join(map(plain_letter, value)).split())
