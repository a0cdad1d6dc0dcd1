"""Text from outside stays text: read back by markdown-it, which had no part in writing it."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from edgepose.host.report.markdown import Code, bullets, code, code_block, paragraph, table, text

RENDERER = MarkdownIt("commonmark", {"html": True}).enable("table")
HOSTILE = (
    "a|b\nc|d",
    "\\|escaped",
    "`code` and ``more``",
    "![pixel](https://example.org/spy.png)",
    "<script>alert(1)</script>",
    "[click](https://example.org)",
    "**bold** _thin_ ~~gone~~ *** ___",
    "# heading",
    "1. item",
    "- item",
    "&lt;b&gt; &#124;",
    "left_eye and $math$",
    "\u202egnp.exe",
    "ends with \\",
)


def plain(value: str) -> str:
    """What a reader should see: one line, without control characters."""
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f\u202e\u2028]", " ", value).split())


def cells(markdown: str) -> list[str]:
    rendered = RENDERER.render(markdown)
    return [html.unescape(re.sub(r"</?code>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", rendered)]


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("wrap", [str, Code])
def test_a_hostile_cell_stays_one_cell_that_reads_as_written(value: str, wrap: type) -> None:
    assert cells(table(("one", "two"), [(wrap(value), "next")])) == [plain(value), "next"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_sentence_stays_one_sentence(value: str) -> None:
    shown = html.escape(plain(value))
    assert RENDERER.render(paragraph(value)) == f"<p>{shown}</p>\n"
    assert RENDERER.render(bullets([value])) == f"<ul>\n<li>{shown}</li>\n</ul>\n"
    assert RENDERER.render(f"# {text(value)}") == f"<h1>{shown}</h1>\n"
    assert re.sub("</?code>", "", RENDERER.render(f"by {code(value)}")) == f"<p>by {shown}</p>\n"


@pytest.mark.parametrize("value", [one for one in HOSTILE if one not in HOSTILE[-3:]])
def test_the_check_notices_text_that_is_not_escaped(value: str) -> None:
    assert RENDERER.render(value) != f"<p>{html.escape(plain(value))}</p>\n"


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("|`\\*_[]()<>&#~!$-+=1. \nab", min_size=1, max_size=12), min_size=1, max_size=3))
def test_any_text_stays_in_its_cell(values: list[str]) -> None:
    shown = cells(table(["h"] * len(values), [values]))
    assert shown == [plain(value) for value in values]


def test_a_command_cannot_leave_its_block() -> None:
    hostile = "echo\n```\n# heading\n````"
    rendered = RENDERER.render(code_block([hostile, "edgepose --help"]))
    assert rendered == f"<pre><code>{hostile}\nedgepose --help\n</code></pre>\n"


def test_a_lone_surrogate_can_be_written_as_utf_8() -> None:
    assert text("a\udc80b").encode() == b"a b"
