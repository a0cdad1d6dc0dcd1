"""What the page shows, from lines of ``edgepose.poses/1``, and what it answers to a request. Pure.

Lines are taken apart and put together anew from numbers: what a line might hold beside poses does not go on.
Every answer, a refusal too, has the same headers: nothing from elsewhere, nothing inline, no image at all.
"""

from __future__ import annotations

import json
import pkgutil
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from math import isfinite
from typing import Any

from edgepose.device.output.line_splitter import EVENT, PAGE

POSES = "edgepose.poses/1"
_RECENT_S = 3.0
# A source that gives nothing for so long is said to be waited for.
_QUIET_S = 3.0
_MOST_PERSONS = 100
# What lines hold is ours, but a program of someone else may write to the socket that the page follows.
_MOST_POINTS, _MOST_NAMES, _LONGEST_NAME, _MOST_RECENT = 512, 64, 64, 3000

_CAMERA_EVENTS = frozenset({"camera_lost", "camera_restarted", "camera_frozen", "camera_size_changed"})

Edges = list[tuple[int, int]]


@dataclass
class PageState:
    """Fed by one thread; who reads holds the same lock as who feeds.

    Attributes:
        number: Grows with each frame.
        view: The newest skeletons, None before the first.
        ended: Whether nothing more will come.
    """

    number: int = 0
    view: dict[str, Any] | None = None
    ended: bool = False
    _edges: dict[str, Edges] = field(default_factory=dict)
    _recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_RECENT))
    _dropped: int = 0
    _persons: int = 0
    _limit_fps: float | None = None
    _camera: str | None = None
    _drift: dict[str, float | None] = field(default_factory=dict)

    def take(self, line: bytes, now_s: float) -> None:
        """Takes a line whole or not at all; one of another schema is left alone.

        Raises:
            ValueError: It is not what its schema says.
        """
        try:
            record = json.loads(line, parse_constant=_refuse, parse_float=_finite)
            schema = record["schema"]
            if schema == POSES:
                self._take_poses(record, now_s)
            elif schema == PAGE:
                self._take_edges(str(record["skeleton"]), record["edges"])
            elif schema == EVENT:
                self._take_event(str(record["kind"]), str(record["subject"]), record["value"])
        except (KeyError, TypeError, IndexError, OverflowError, RecursionError) as problem:
            raise ValueError(f"not a line of {POSES}") from problem

    def figures(self, now_s: float, temperature_celsius: float | None) -> dict[str, Any]:
        """The figures of the last three seconds."""
        self._forget(now_s)
        latencies = sorted(latency for _, latency in self._recent)
        return {
            "state": self._state(now_s),
            "fps": self._fps(),
            "latency_p50_ms": _at(latencies, 0.5),
            "latency_p95_ms": _at(latencies, 0.95),
            "persons": self._persons,
            "dropped": self._dropped,
            "temperature_celsius": temperature_celsius,
            "limit_fps": self._limit_fps,
            "camera": self._camera,
            "drift": [{"feature": feature, "size": size} for feature, size in sorted(self._drift.items())],
        }

    def _take_edges(self, skeleton: str, edges: list[Any]) -> None:
        if len(self._edges) < _MOST_NAMES or skeleton in self._edges:
            self._edges[skeleton] = [(int(a), int(b)) for a, b in edges[:_MOST_POINTS]]

    def _take_poses(self, record: dict[str, Any], now_s: float) -> None:
        persons = [
            {
                "id": None if person["track_id"] is None else int(person["track_id"]),
                "points": [
                    [float(x), float(y), float(score)] for x, y, score in person["keypoints"][:_MOST_POINTS]
                ],
            }
            for person in record["poses"][:_MOST_PERSONS]
        ]
        view = {
            "frame": int(record["frame"]),
            "size": [int(record["width_px"]), int(record["height_px"])],
            "edges": self._edges.get(str(record["skeleton"]), []),
            "persons": persons,
        }
        dropped, latency_ms = int(record["dropped_before"]), float(record["latency_ms"])
        self.view = view
        self.number += 1
        self._persons = len(persons)
        self._dropped += dropped
        self._recent.append((now_s, latency_ms))
        self._forget(now_s)

    def _take_event(self, kind: str, subject: str, value: float | None) -> None:
        size = None if value is None else float(value)
        if kind == "drift_started":
            if len(self._drift) < _MOST_NAMES:
                self._drift[subject[:_LONGEST_NAME]] = size
        elif kind == "drift_ended":
            self._drift.pop(subject[:_LONGEST_NAME], None)
        elif kind == "rate_lowered":
            self._limit_fps = size
        elif kind == "rate_restored":
            self._limit_fps = None
        elif kind in _CAMERA_EVENTS:
            # The newest alone: what a camera goes through follows each other.
            self._camera = kind

    def _forget(self, now_s: float) -> None:
        while self._recent and now_s - self._recent[0][0] > _RECENT_S:
            self._recent.popleft()

    def _state(self, now_s: float) -> str:
        if self.ended:
            return "ended"
        return "live" if self._recent and now_s - self._recent[-1][0] < _QUIET_S else "waiting"

    def _fps(self) -> float | None:
        if len(self._recent) < 2:
            return None
        return round((len(self._recent) - 1) / max(self._recent[-1][0] - self._recent[0][0], 1e-3), 1)


def _at(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1) if ordered else None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no coordinate")


def _finite(text: str) -> float:
    """JSON has 1e400, which Python reads as infinity."""
    value = float(text)
    if not isfinite(value):
        _refuse(text)
    return value


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
    """The answer to a request; ``head``: first line and headers, with the empty line behind them."""
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
