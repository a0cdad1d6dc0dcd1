"""Text from outside, before people see it: no character may command a terminal or hide what stands there.

A device, a model file, a camera or a file's name can hold any character. C0 and C1 controls and DEL move the
cursor, clear the screen or fill the clipboard (ECMA-48); bidirectional controls reorder what is read (Unicode
Technical Report 36); zero-width characters make two different names look the same. Each becomes the escape
that Python would write for it. Everything else, letters of all languages among it, stays as it is.
"""

from __future__ import annotations

import re

# The Unicode categories Cc, Cf, Cs, Zl and Zp; a test compares it with all characters that this Python knows.
_HIDDEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\ud800-\udfff\ufeff\ufff0-\ufffb\U000110bd\U000110cd\U00013430-\U0001345f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_ONE_LINE = re.compile(f"[{_HIDDEN}]")
_LINES = re.compile(f"(?![\n\t])[{_HIDDEN}]")
# Within JSON only what its own escapes leave as it is.
_JSON = re.compile(f"(?![\x00-\x1f])[{_HIDDEN}]")
# How Python reads a byte of a file's name that is not UTF-8 (PEP 383).
_BYTE_BASE, _BYTES = 0xDC00, range(0xDC80, 0xDD00)


def visible(text: str) -> str:
    """One line: line breaks become visible, too, so that no name can look like a message of its own."""
    return _ONE_LINE.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Several lines: their line breaks and tabs stay."""
    return _LINES.sub(_escape, text)


def visible_json(text: str) -> str:
    """JSON that means the same and holds no such character."""
    return _JSON.sub(_json_escape, text)


def shortened(text: str, characters: int) -> str:
    """The beginning of what is too long to be read; what was left out is said.

    Args:
        text: Of any length.
        characters: The most that stays.
    """
    return text if len(text) <= characters else f"{text[:characters]}... ({len(text)} characters)"


def _escape(found: re.Match[str]) -> str:
    number = ord(found[0])
    if number in _BYTES:
        number -= _BYTE_BASE
    if number <= 0xFF:
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(found[0], f"\\x{number:02x}")
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _json_escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
