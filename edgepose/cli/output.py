"""What commands print: tables for people, JSON for programs, progress on standard error.

This is the one place that writes for people (an architecture test finds every other): here control
characters of names and answers from outside become visible, and no camera's password gets past.
"""

from __future__ import annotations

import io
import json
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from edgepose.cli.options import is_forced
from edgepose.errors import EdgeposeError
from edgepose.records.display_text import hide_logins, shortened, visible, visible_json, visible_lines
from edgepose.records.files import refuse_other_record, write_whole
from edgepose.records.record import Record, to_builtins

Progress = Callable[[int, int], None]
# A colour is marked by what no text from outside can know, and becomes an escape code after all others have
# gone.
_MARK = f"\ue000{secrets.token_hex(8)}:"
_MARKED = re.compile(f"{_MARK}(\\w+)\ue000(.*?){_MARK}\ue000", re.DOTALL)
_LONGEST_MESSAGE = 4000


def write_report(report: Record | dict[str, Any], json_target: str | None, text: str | None = None) -> None:
    """Prints a report for people, or writes it as JSON.

    Args:
        report: The record.
        json_target: ``-`` for standard output (then nothing else goes there), a path, or None.
        text: What people see on standard output unless ``json_target`` is ``-``.

    Raises:
        ConfigError: The file cannot be written.
    """
    if json_target is None:
        if text is not None:
            show(text)
        return
    plain = to_builtins(report) if isinstance(report, Record) else report
    # allow_nan=False: NaN is no JSON, and a figure that was not measured is null.
    # A file name that is not UTF-8 reaches here as lone surrogates; \udcXX is how JSON spells them.
    content = visible_json(json.dumps(plain, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
    if json_target == "-":
        click.echo(content, nl=False)
        return
    path = Path(json_target)
    schemas = [str(plain["schema"])] if "schema" in plain else []
    if refuse_other_record(path, schemas, force=is_forced(click.get_current_context(silent=True))):
        say(f"{path}: replaced")
    write_whole(path, [content.encode()])
    if text is not None:
        show(text)


def show(text: str, *, end: str = "\n", err: bool = False) -> None:
    """Prints text for people, one line or several."""
    plain = visible_lines(hide_logins(text))
    click.echo(_MARKED.sub(lambda found: click.style(found[2], fg=found[1]), plain) + end, nl=False, err=err)


def coloured(text: str, colour: str) -> str:
    """Text that ``show`` prints in a colour where it goes to a terminal."""
    return f"{_MARK}{colour}\ue000{text}{_MARK}\ue000"


def table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Aligns rows under headers; numbers go to the right."""
    cells = [[_cell(value) for value in row] for row in rows]
    widths = [max(len(text) for text in column) for column in zip(headers, *cells, strict=True)]
    numeric = [
        bool(rows) and all(isinstance(row[i], (int, float)) or row[i] is None for row in rows)
        for i in range(len(headers))
    ]

    def line(texts: Sequence[str]) -> str:
        padded = [
            text.rjust(width) if right else text.ljust(width)
            for text, width, right in zip(texts, widths, numeric, strict=True)
        ]
        return "  ".join(padded).rstrip()

    return "\n".join([line(headers), line(["-" * width for width in widths]), *map(line, cells)])


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Fractions keep their trailing zeros, so that a column of them lines up.
        return f"{value:.4f}" if abs(value) < 1 else f"{value:.4g}"
    return visible(str(value))


def say(message: str) -> None:
    """One line of progress or log, on standard error."""
    show(message, err=True)


def show_error(problem: EdgeposeError) -> None:
    """An expected error: what was expected and found, and what to do next."""
    click.echo(click.style("error: ", fg="red", bold=True) + _one_line(problem.message), err=True)
    if problem.hint:
        click.echo(click.style("  hint: ", bold=True) + _one_line(problem.hint), err=True)


def show_usage_error(problem: click.ClickException) -> None:
    """What click says about a wrong command line, which may hold anything."""
    text = io.StringIO()
    problem.show(file=text)
    show(text.getvalue(), end="", err=True)


def show_bug(problem: BaseException) -> None:
    """The traceback of what was not expected; its message may hold text from outside."""
    show("".join(traceback.format_exception(problem)), end="", err=True)


def _one_line(text: str) -> str:
    return shortened(visible(hide_logins(text)), _LONGEST_MESSAGE)


@contextmanager
def progress_bar(label: str) -> Iterator[Progress]:
    """A progress bar on standard error, silent unless that is a terminal.

    Yields:
        A function of (done, total).
    """
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    with click.progressbar(length=1, label=label, file=sys.stderr) as bar:

        def advance(done: int, total: int) -> None:
            bar.length = max(total, 1)
            bar.update(done - bar.pos)

        yield advance
