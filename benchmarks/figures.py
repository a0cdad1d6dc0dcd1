"""Keeps the figures of the pages equal to the records that they come from.

A figure stands in a page between two comments that no reader sees,
``<!--= NAME PATH FORMAT -->0.49<!--/-->``.
NAME is a record in ``results/``, PATH its keys with ``/`` between them (a number takes an element of a list),
FORMAT one of Python's (``.2f``, ``+.3f``, ``.0%``), with a factor before it where the unit differs
(``0.001*.1f``), or ``#`` for the length of a list. A figure with a unit or a decimal point that has no such
comments is loose: it may be old.

Usage: python benchmarks/figures.py [--write]
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from script_digest import HERE

RESULTS = HERE / "results"
PAGES = tuple(HERE.parent / name for name in ("README.md", "docs/measurements.md", "docs/telemetry.md"))
_MARK = re.compile(r"<!--= (\S+) ([^>]+?) (?:([0-9.e-]+)\*)?(\S+) -->(.*?)<!--/-->", re.DOTALL)
# Code, links' targets and comments hold settings and names.
_NOT_TEXT = re.compile(r"```.*?```|`[^`\n]*`|\]\([^)\n]*\)|<!--.*?-->", re.DOTALL)
_VERSION = re.compile(r"Python \d\.\d+( to \d\.\d+)?|95 % interval")
# Not 1.2.3, a version, but 0.49, 12 %, 3 MiB.
_LOOSE = re.compile(r"(?<![\w.@-])[-+]?(?:\d+\.\d+(?![\w.])|\d+ ?(?:%|ms\b|MiB\b|µs\b|AP\b))")


def with_current_figures(text: str, results: Path = RESULTS) -> str:
    """A page with the figures that its records have now.

    Raises:
        KeyError: A record or a place in it is missing.
    """
    return _MARK.sub(lambda mark: _marked(mark, results), text)


def loose_figures(text: str) -> list[str]:
    """Measured figures, as far as can be seen, that no record stands behind."""
    bare = _VERSION.sub(" ", _NOT_TEXT.sub(" ", _MARK.sub(" ", text)))
    return [found.group() for found in _LOOSE.finditer(bare)]


def records_of(text: str) -> set[str]:
    """The records that a page names in its figures."""
    return {mark.group(1) for mark in _MARK.finditer(text)}


def _marked(mark: re.Match[str], results: Path) -> str:
    name, path, factor, form, _ = mark.groups()
    value = _looked_up(results / f"{name}.json", path)
    if form == "#":
        shown = str(len(value))
    else:
        shown = format(value * float(factor) if factor else value, form).replace("%", " %")
    return mark.group()[: mark.start(5) - mark.start()] + shown + "<!--/-->"


def _looked_up(record: Path, path: str) -> Any:
    if not record.is_file():
        raise KeyError(f"there is no record {record.name}")
    value: Any = json.loads(record.read_text(encoding="utf-8"))
    for key in path.split("/"):
        try:
            value = value[int(key)] if isinstance(value, list) else value[key]
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise KeyError(f"{record.name} has no {path}, or not at {key}") from error
    return value


def rewrite_pages() -> list[Path]:
    """Brings all pages up to date: those that changed."""
    changed = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (current := with_current_figures(text)) != text:
            page.write_text(current, encoding="utf-8")
            changed.append(page)
    return changed


def main() -> None:
    """Rewrites the pages with ``--write``, else says which are old; 1 where one is."""
    if "--write" in sys.argv:
        print("\n".join(f"rewrote {page.name}" for page in rewrite_pages()))
        return
    texts = {page.name: page.read_text(encoding="utf-8") for page in PAGES}
    old = [name for name, text in texts.items() if with_current_figures(text) != text]
    print("\n".join(f"{name} has old figures" for name in old))
    raise SystemExit(bool(old))


if __name__ == "__main__":
    main()
