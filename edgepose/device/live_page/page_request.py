"""What the page answers to the head of a request. Pure.

Every answer, a refusal too, has the same headers: nothing from elsewhere, nothing inline, no picture at all.
"""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

# A browser's request has about 1 KB; cookies of other servers on this machine's name may come with it.
MAX_REQUEST_BYTES = 8192
_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_ASSETS = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
    "Connection": "close",
}
# RFC 9112: no white space before the colon, no line that goes on in the next one.
_FIRST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}) ([!-~]+) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*?)[ \t]*")


@dataclass(frozen=True)
class Answer:
    """What is sent.

    Attributes:
        status: Of HTTP.
        kind: The content type.
        body: The content; None where events follow.
        with_body: Whether the body is sent (not for HEAD).
    """

    status: HTTPStatus
    kind: str
    body: bytes | None
    with_body: bool = True

    def encoded(self) -> bytes:
        """The bytes."""
        headers = {"Content-Type": self.kind, **_HEADERS}
        if self.body is not None:
            headers["Content-Length"] = str(len(self.body))
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("ascii")
        return head + (self.body or b"") if self.with_body else head


def refusal(status: HTTPStatus, text: str) -> Answer:
    """One sentence of ours; nothing of a request is repeated."""
    return Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())


def answer_to(head: bytes) -> Answer:
    """The answer to a request.

    Args:
        head: First line and headers, with the empty line that ends them.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    request = _FIRST_LINE.fullmatch(first)
    headers = _headers(lines)
    if request is None or headers is None or not request[2].startswith(b"/"):
        return refusal(HTTPStatus.BAD_REQUEST, "This is no request of HTTP/1.1.")
    method, path = request[1].decode(), request[2].decode().partition("?")[0]
    if method not in ("GET", "HEAD"):
        return refusal(HTTPStatus.NOT_IMPLEMENTED, "Only GET and HEAD are answered.")
    found = _content(path, headers, with_body=method == "GET")
    return Answer(found.status, found.kind, found.body, with_body=method == "GET")


def _content(path: str, headers: Mapping[str, str], *, with_body: bool) -> Answer:
    host = headers.get("host", "")
    if not _is_loopback(host):
        # Another name that leads here is how a foreign page would read this one (DNS rebinding).
        return refusal(HTTPStatus.MISDIRECTED_REQUEST, "This page answers to 127.0.0.1 and localhost alone.")
    if path == "/events" and with_body:
        if not _is_from_the_page(headers, host):
            return refusal(HTTPStatus.FORBIDDEN, "Only the page itself may listen.")
        return Answer(HTTPStatus.OK, "text/event-stream", None)
    if path in _ASSETS:
        name, kind = _ASSETS[path]
        return Answer(HTTPStatus.OK, kind, _asset(name))
    return refusal(HTTPStatus.NOT_FOUND, "There is nothing here.")


def _headers(lines: list[bytes]) -> dict[str, str] | None:
    """By lower-case names; None where a line is none, or Host, Origin and the like stand there twice."""
    found: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        name = header[1].decode().lower()
        if name in found and name in ("host", "origin", "sec-fetch-site"):
            return None
        found[name] = header[2].decode("latin-1")
    return found


def _is_loopback(host: str) -> bool:
    """The port may be another one: ssh can carry it elsewhere."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    return name.lower() in _HOSTS


def _is_from_the_page(headers: Mapping[str, str], host: str) -> bool:
    """Browsers say where a request comes from; older ones by Origin alone."""
    origin = headers.get("origin", f"http://{host}").lower()
    site = headers.get("sec-fetch-site", "same-origin")
    return site in ("same-origin", "none") and origin == f"http://{host}".lower()


def _asset(name: str) -> bytes:
    # The package may lie in a zip file.
    content = pkgutil.get_data("edgepose.device.live_page", f"assets/{name}")
    if content is None:
        raise FileNotFoundError(name)
    return content
