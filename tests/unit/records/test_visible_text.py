"""Control characters of text from outside become visible; letters stay."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.records.display_text import shortened, visible, visible_json, visible_lines

# Control, format, surrogate, line and paragraph separator.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def test_every_control_and_format_character_of_unicode_becomes_visible() -> None:
    kept = [
        hex(number)
        for number in range(sys.maxunicode + 1)
        if unicodedata.category(chr(number)) in _HIDDEN and visible(chr(number)) == chr(number)
    ]
    assert kept == []


def test_no_assigned_character_of_another_kind_is_changed() -> None:
    changed = [
        hex(number)
        for number in range(sys.maxunicode + 1)
        if unicodedata.category(chr(number)) not in _HIDDEN | {"Cn"} and visible(chr(number)) != chr(number)
    ]
    assert changed == []


@given(st.text(st.characters()))
def test_nothing_hidden_is_left_of_any_text(text: str) -> None:
    assert not {unicodedata.category(sign) for sign in visible(text)} & _HIDDEN
    assert not {unicodedata.category(sign) for sign in visible_lines(text) if sign not in "\n\t"} & _HIDDEN
    # A second time changes nothing.
    assert visible(visible(text)) == visible(text)


@given(st.text(st.characters(exclude_categories=tuple(_HIDDEN))))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text
    assert visible_lines(text) == text


@pytest.mark.parametrize(
    "text", ["Fenêtre übergroß", "人体姿势 ポーズ 자세", "🤸🏽 ❤️", "עברית العربية", r"C:\new\x1b"]
)
def test_languages_and_pictures_stay(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\x1b[2J"),
        ("\x9b31m", r"\x9b31m"),
        ("a\rb\nc\td", r"a\rb\nc\td"),
        ("exe\u202egpj", r"exe\u202egpj"),
        ("a\u200bb\u2028c", r"a\u200bb\u2028c"),
        (b"caf\xe9".decode(errors="surrogateescape"), r"caf\xe9"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_shown_is_pythons_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_several_lines_keep_their_breaks_and_tabs() -> None:
    assert visible_lines("a\n\tb\r\n\x1b") == "a\n\tb\\r\n\\x1b"


@given(
    st.recursive(st.text(st.characters()), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_means_the_same_and_holds_nothing_hidden(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, indent=1)
    shown = visible_json(text)
    assert json.loads(shown) == json.loads(text)
    assert not {unicodedata.category(sign) for sign in shown if sign != "\n"} & _HIDDEN


def test_long_text_is_cut_and_says_so() -> None:
    assert shortened("a" * 10, 10) == "a" * 10
    assert shortened("a" * 11, 10) == "aaaaaaaaaa... (11 characters)"
