"""The page over HTTP, on the loopback interface alone.

No page of another origin can read it, also not by giving its own name this machine's address: the Host header
must name the loopback interface. Nothing is taken from a browser but a request's first line and headers.
"""

from __future__ import annotations

import http.server
import json
import pkgutil
import socketserver
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, cast

from edgepose.device.live_page.page_state import PageState

ADDRESS = "127.0.0.1"
_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_ASSETS = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
# Nothing from elsewhere, nothing inline, no image at all.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
_SHORTEST_STEP_S = 1 / 30
_FIGURES_EVERY_S = 1.0
_REQUEST_LIMIT_S = 10.0
MAX_VIEWERS = 8


class LiveFeed:
    """The newest state, for those who look and for the one who feeds.

    Args:
        temperature_celsius: Asked once a second and viewer.
        clock_s: A clock that nobody sets.
    """

    def __init__(
        self,
        temperature_celsius: Callable[[], float | None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._temperature_celsius = temperature_celsius
        self._clock_s = clock_s
        self._state = PageState()
        self._change = threading.Condition()

    def take(self, lines: list[bytes]) -> None:
        """Takes lines as they came; one that is damaged is left out."""
        with self._change:
            for line in lines:
                with suppress(ValueError):
                    self._state.take(line, self._clock_s())
            self._change.notify_all()

    def end(self) -> None:
        """Nothing more will come."""
        with self._change:
            self._state.ended = True
            self._change.notify_all()

    def wait(self, seen: int, limit_s: float) -> tuple[int, dict[str, Any] | None, bool]:
        """Waits for a frame after the one that was seen.

        Returns:
            The frame's number, its skeletons, and whether nothing more will come.
        """
        with self._change:
            self._change.wait_for(lambda: self._state.number != seen or self._state.ended, limit_s)
            return self._state.number, self._state.view, self._state.ended

    def figures(self) -> dict[str, Any]:
        """The figures now."""
        temperature = self._temperature_celsius()
        with self._change:
            return self._state.figures(self._clock_s(), temperature)


class PageServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Serves one feed.

    Args:
        port: On 127.0.0.1; 0 takes a free one.
        feed: What to show.

    Raises:
        OSError: The port is taken.
    """

    daemon_threads = True
    block_on_close = False
    # A second server on the port must fail, and not share it.
    allow_reuse_port = False

    def __init__(self, port: int, feed: LiveFeed) -> None:
        self.feed = feed
        self.viewers = threading.BoundedSemaphore(MAX_VIEWERS)
        super().__init__((ADDRESS, port), _Handler)

    @property
    def address(self) -> str:
        """For a browser."""
        return f"http://{ADDRESS}:{self.server_port}/"

    def server_bind(self) -> None:
        """Binds without asking the name service for this machine's name, as the base class does."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that went away in the middle is no news."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _REQUEST_LIMIT_S
    server_version = "edgepose"
    sys_version = ""

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 (the base class's name)
        """Who looked, and when, is nobody's business."""

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        if not _is_loopback(self.headers.get("Host", "")):
            # Another name that leads here is how a foreign page would read this one (DNS rebinding).
            self._say(HTTPStatus.MISDIRECTED_REQUEST, "This page answers to 127.0.0.1 and localhost alone.")
        elif path == "/events" and with_body:
            self._stream()
        elif path in _ASSETS:
            name, kind = _ASSETS[path]
            self._send(HTTPStatus.OK, kind, _asset(name), with_body=with_body)
        else:
            self._say(HTTPStatus.NOT_FOUND, "There is nothing here.")

    def _say(self, status: HTTPStatus, text: str) -> None:
        self._send(status, "text/plain; charset=utf-8", text.encode(), with_body=self.command != "HEAD")

    def _send(self, status: HTTPStatus, kind: str, body: bytes, *, with_body: bool) -> None:
        self._begin(status, kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def _begin(self, status: HTTPStatus, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in _HEADERS.items():
            self.send_header(name, value)

    def _stream(self) -> None:
        server = cast("PageServer", self.server)
        # Browsers say where a request comes from; only this very page may listen.
        if self.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            self._say(HTTPStatus.FORBIDDEN, "Only the page itself may listen.")
            return
        if not server.viewers.acquire(blocking=False):
            self._say(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} look already.")
            return
        self.close_connection = True
        try:
            self._begin(HTTPStatus.OK, "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self._send_events(server.feed)
        except OSError:
            # The browser left, or takes nothing for ten seconds.
            return
        finally:
            server.viewers.release()

    def _send_events(self, feed: LiveFeed) -> None:
        seen, figures_at = 0, 0.0
        while True:
            step = time.monotonic()
            number, view, ended = feed.wait(seen, figures_at - step if figures_at > step else 0.0)
            if number != seen and view is not None:
                self._event("poses", view)
                seen = number
            if ended or time.monotonic() >= figures_at:
                self._event("figures", feed.figures())
                figures_at = time.monotonic() + _FIGURES_EVERY_S
            if ended:
                return
            # More frames than a screen can show are left out; the newest is always the next.
            time.sleep(max(_SHORTEST_STEP_S - (time.monotonic() - step), 0))

    def _event(self, name: str, data: dict[str, Any]) -> None:
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        self.wfile.write(f"event: {name}\ndata: {text}\n\n".encode())


def _is_loopback(host: str) -> bool:
    """The port may be another one: ssh can carry it elsewhere."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    return name.lower() in _HOSTS


def _asset(name: str) -> bytes:
    # The package may lie in a zip file.
    content = pkgutil.get_data("edgepose.device.live_page", f"assets/{name}")
    if content is None:
        raise FileNotFoundError(name)
    return content
