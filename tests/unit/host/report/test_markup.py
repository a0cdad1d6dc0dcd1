"""Text from outside stays text: read back by html.parser, which had no part in writing it."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.host.report.markup import Markup, element, joined, table, text

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onload="alert(1)',
    "' style='x",
    "&lt;b&gt; &amp;",
    "]]><!-- -->",
)


class Reader(HTMLParser):
    def __init__(self, markup: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("hostile", HOSTILE)
def test_hostile_text_is_read_back_as_text(hostile: str) -> None:
    seen = Reader(element("p", hostile, title=hostile))
    assert seen.tags == ["p"]
    assert seen.attributes == [("title", hostile)]
    assert seen.text == hostile


def test_markup_is_taken_as_it_is_so_the_check_above_can_fail() -> None:
    assert Reader(element("p", Markup(HOSTILE[0]))).tags == ["p", "script"]


@given(st.text(max_size=60))
def test_no_text_becomes_an_element_or_breaks_the_encoding(value: str) -> None:
    seen = Reader(element("p", value, title=value))
    assert seen.tags == ["p"]
    assert len(seen.attributes) == 1
    text(value).encode()


def test_text_is_escaped_once_however_often_it_is_wrapped() -> None:
    assert joined(joined("a & b")) == "a &amp; b"


def test_bidirectional_overrides_and_control_characters_become_blanks() -> None:
    assert text("a\u202eb\x00c\ud800d") == "a b c d"


def test_a_table_names_its_columns_and_rows() -> None:
    seen = Reader(table("Figures", ("model", "AP"), [("<b>", "0.5")]))
    assert seen.tags == ["div", "table", "caption", "thead", "tr", "th", "th", "tbody", "tr", "th", "td"]
    assert [value for name, value in seen.attributes if name == "scope"] == ["col", "col", "row"]
