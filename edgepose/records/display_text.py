"""Text from outside, before people see it: no character may command a terminal or hide what stands there.

A device, a model file, a camera or a file's name can hold any character. C0 and C1 controls and DEL move the
cursor, clear the screen or fill the clipboard (ECMA-48); bidirectional controls reorder what is read (Unicode
Technical Report 36); zero-width characters make two different names look the same. Each becomes the escape
that Python would write for it. Everything else, letters of all languages among it, stays as it is.

Of a URL only scheme and host are shown. Cameras take user name and password before the host, in the query
(``?user=admin&password=...``) and even in the path. People paste passwords as they are, with ``/``, ``?``,
``#`` and ``@`` in them, where RFC 3986 wants them percent-encoded; such a URL is understood where only one
reading of it has a host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import quote

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
    """The beginning of what is too long to be read; what was left out is said."""
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


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|\w[\w.-]*)(?::(\d{1,5}))?(?=[/?#]|\Z)")
_MAX_PORT = 65535
_SECRET_WORD = re.compile(r"(?:pass|pwd|psw|token|secret|auth|user|login|key|sig)\w*=", re.IGNORECASE)
# A path that was made of a camera's URL has one slash less.
_URL = re.compile(r"\b(?:([A-Za-z][A-Za-z0-9+.-]*)://|(rtsps?):/)([^\r\n]*)", re.IGNORECASE)
_CAMERA = frozenset({"rtsp", "rtsps"})
# How messages and help spell an address.
_EXAMPLES = frozenset({"...", "HOST/STREAM", "ADDRESS/STREAM"})
# What names something of this machine, and may have any character in a path.
_LOCAL = frozenset({"file", "shared", "v4l2", "csi", "picamera2"})
_CLOSING = "'\"`)]}>.,;:!?"
# RFC 3986: what may stand in user name and password beside letters and digits; % begins an escape.
_LOGIN_SAFE = "!$&'()*+,;=-._~%"
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True)
class UrlParts:
    """A URL taken apart.

    Attributes:
        scheme: Before ``://``.
        host: Name or number, with the port where there is one.
        login: ``user:password`` as written, or nothing.
        rest: Path and query.
    """

    scheme: str
    host: str
    login: str = field(repr=False)
    rest: str = field(repr=False)

    @property
    def shown(self) -> str:
        """Scheme and host."""
        return f"{self.scheme}://{self.host}"

    @property
    def has_secret(self) -> bool:
        """Whether a reader of the URL could log in with it."""
        return bool(self.login) or _SECRET_WORD.search(self.rest) is not None

    @property
    def hostname(self) -> str:
        """The host without its port and brackets."""
        found = _HOST.match(self.host)
        return (found[1] if found else self.host).strip("[]")

    def encoded(self, login: str | None = None) -> str:
        """The URL as programs want it: user name and password percent-encoded."""
        user, colon, password = (self.login if login is None else login).partition(":")
        head = f"{_quoted(user)}{colon}{_quoted(password)}@" if user or colon else ""
        return f"{self.scheme}://{head}{self.host}{self.rest}"


def split_url(scheme: str, rest: str) -> UrlParts | None:
    """Takes a URL apart; None where it has no host, or several texts in it could be the host."""
    starts = [0, *(found.end() for found in re.finditer("@", rest))]
    readings = [found for start in starts if (found := _reading(scheme, rest, start)) is not None]
    if len(readings) > 1:
        # A password holds no address of a machine; a path hardly ever does.
        readings = [found for found in readings if _is_number(found.hostname)]
    return readings[0] if len(readings) == 1 else None


def hide_logins(text: str) -> str:
    """Text in which URLs with a password, and those of cameras always, show nothing but their host."""
    return _URL.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    scheme, line = found[1] or found[2], found[3]
    if scheme.lower() in _LOCAL:
        return found[0]
    end = next((at for at, sign in enumerate(line) if sign.isspace()), len(line))
    if _in_login(line[:end]) and "@" not in line[:end] and "@" in line[end:]:
        # A space within a password: where that ends cannot be told.
        return f"{scheme}://(not shown)"
    url = line[:end].rstrip(_CLOSING)
    # What follows the URL may hold the next one.
    after = line[len(url) : end] + hide_logins(line[end:])
    harmless = "@" not in url and not _SECRET_WORD.search(url) and not _in_login(url)
    if (
        line[:end].rstrip("'\"`)]}>,;:!?") in _EXAMPLES
        or url in _EXAMPLES
        or (harmless and scheme.lower() not in _CAMERA)
    ):
        return f"{scheme}://{url}{after}"
    parts = split_url(scheme, url)
    return (f"{scheme}://(not shown)" if parts is None else parts.shown) + after


def _in_login(url: str) -> bool:
    """Whether what stands before the first slash is no host, but may be a user name and a password."""
    authority = re.split("[/?#]", url, maxsplit=1)[0]
    return ":" in authority and "@" not in authority and _HOST.match(authority) is None


def _reading(scheme: str, rest: str, start: int) -> UrlParts | None:
    host, login = _HOST.match(rest, start), rest[: max(start - 1, 0)]
    if ":" not in login and any(sign in login for sign in "/?#"):
        # No user name with its password, so this @ belongs to path or query.
        return None
    if host is None or (host[2] is not None and not 0 < int(host[2]) <= _MAX_PORT):
        return None
    return UrlParts(scheme, host[0], login, rest[host.end() :])


def _is_number(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _quoted(text: str) -> str:
    return quote(_STRAY_PERCENT.sub("%25", text), safe=_LOGIN_SAFE)
