"""The page among junk, slow and many clients: it answers, and nobody takes its memory or places for good."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from edgepose.device.live_page import page_server
from edgepose.device.live_page.page_process import open_page
from edgepose.device.live_page.page_server import MAX_CONNECTIONS, MAX_VIEWERS, LiveFeed, PageServer
from edgepose.device.live_page.page_state import MAX_REQUEST_BYTES, answer_to
from edgepose.device.output.pose_sink import pose_line
from tests.support.pictures import persons_at, result_of
from tests.support.waiting import until

pytestmark = pytest.mark.timing

_GOOD = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
_EVENTS = b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n"
_JUNK = [
    b"GET /\r\n\r\n",
    b"G\x1bT /<script>alert(1)</script> HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: a\nb\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    bytes(range(256)) + b"\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 9000,
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (2 * MAX_REQUEST_BYTES),
    b"x" * (4 * MAX_REQUEST_BYTES),
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /nothing HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"GET /events HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
]
_SAFE = (
    b"\r\nContent-Security-Policy: default-src 'none'", b"\r\nX-Content-Type-Options: nosniff\r\n",
    b"\r\nReferrer-Policy: no-referrer\r\n", b"\r\nCross-Origin-Resource-Policy: same-origin\r\n",
    b"\r\nCross-Origin-Opener-Policy: same-origin\r\n", b"\r\nCache-Control: no-store\r\n",
    b"\r\nConnection: close\r\n",
)  # fmt: skip


@pytest.fixture(name="page")
def _page() -> Iterator[tuple[PageServer, LiveFeed]]:
    server, feed = open_page(0)
    yield server, feed
    server.shutdown()
    server.server_close()


@pytest.fixture(name="opened")
def _opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def connected(server: PageServer, opened: contextlib.ExitStack) -> socket.socket:
    return opened.enter_context(socket.create_connection(("127.0.0.1", server.server_port), timeout=20))


def everything(connection: socket.socket) -> bytes:
    pieces = []
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(1 << 16):
            pieces.append(piece)
    return b"".join(pieces)


def asked(server: PageServer, request: bytes) -> bytes:
    with contextlib.ExitStack() as opened:
        connection = connected(server, opened)
        connection.sendall(request)
        return everything(connection)


@pytest.mark.parametrize("junk", _JUNK, ids=range(len(_JUNK)))
def test_junk_gets_an_answer_with_the_headers_of_the_page_and_nothing_of_it_back(
    page: tuple[PageServer, LiveFeed], junk: bytes
) -> None:
    answer = asked(page[0], junk)
    status, _, rest = answer.partition(b"\r\n")
    assert status.split()[1] in (b"400", b"403", b"404", b"421", b"431", b"501")
    assert all(header in answer for header in _SAFE)
    assert b"\r\nContent-Type: text/plain; charset=utf-8\r\n" in answer
    assert b"script>" not in rest
    assert b"evil" not in rest
    # The control: what is in order is answered, with the same headers.
    good = asked(page[0], _GOOD)
    assert good.startswith(b"HTTP/1.1 200 OK\r\n")
    assert all(header in good for header in _SAFE)


def test_a_foreign_origin_cannot_listen_whatever_else_its_browser_says() -> None:
    def status(more: str, host: str = "localhost:9000") -> int:
        return answer_to(f"GET /events HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()).status

    assert status("") == 200
    assert status("Origin: http://localhost:9000\r\n") == 200
    assert status("Origin: http://localhost:9000\r\nSec-Fetch-Site: same-origin\r\n") == 200
    for foreign in ("http://evil.example", "null", "http://localhost", "https://localhost:9000", "file://"):
        assert status(f"Origin: {foreign}\r\n") == 403
        assert status(f"Origin: {foreign}\r\nSec-Fetch-Site: same-origin\r\n") == 403
    assert status("Sec-Fetch-Site: cross-site\r\n") == 403


def test_a_byte_now_and_then_does_not_keep_a_connection(
    page: tuple[PageServer, LiveFeed], opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "REQUEST_LIMIT_S", 0.5)
    slow = connected(page[0], opened)
    slow.sendall(b"GET / HTTP/1.1\r\nX: ")

    def is_closed() -> bool:
        try:
            slow.sendall(b"a")
        except OSError:
            return True
        return False

    until(is_closed, "the slow one is dropped")
    assert not page[0]._open


def test_many_connections_that_say_nothing_keep_nobody_out(
    page: tuple[PageServer, LiveFeed], opened: contextlib.ExitStack
) -> None:
    threads = threading.active_count()
    silent = [connected(page[0], opened) for _ in range(3 * MAX_CONNECTIONS)]
    for connection in silent[::2]:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\nX: ")
    for _ in range(5):
        assert asked(page[0], _GOOD).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(page[0]._open) <= MAX_CONNECTIONS
    assert threading.active_count() == threads


def test_silent_connections_drive_no_viewer_out(
    page: tuple[PageServer, LiveFeed], opened: contextlib.ExitStack
) -> None:
    viewers = [connected(page[0], opened) for _ in range(MAX_VIEWERS)]
    for viewer in viewers:
        viewer.sendall(_EVENTS)
        assert viewer.recv(15) == b"HTTP/1.1 200 OK"
    for _ in range(2 * MAX_CONNECTIONS):
        connected(page[0], opened)
    page[1].take([pose_line(result_of(persons_at([(100.0, 120.0)])))])
    for viewer in viewers:
        got = b""
        while b"event: poses" not in got:
            piece = viewer.recv(1 << 16)
            assert piece
            got += piece[-200:] + piece


def test_a_viewer_that_takes_nothing_is_dropped_and_the_others_are_not(
    page: tuple[PageServer, LiveFeed], opened: contextlib.ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_server, "_SEND_LIMIT_S", 2.0)
    server, feed = page
    crowd = pose_line(result_of(persons_at([(100.0 + step, 120.0) for step in range(90)])))
    lazy, eager = connected(server, opened), connected(server, opened)
    for viewer in (lazy, eager):
        viewer.sendall(_EVENTS)
        assert viewer.recv(15) == b"HTTP/1.1 200 OK"

    def is_dropped() -> bool:
        feed.take([crowd])
        assert eager.recv(1 << 20)
        return len(server._viewers) < 2

    until(is_dropped, "the lazy one is dropped")
    assert len(server._viewers) == 1
    seen = feed.newest()[0]
    feed.take([crowd])
    assert feed.newest()[0] == seen + 1
    assert eager.recv(1 << 20)


def test_a_viewer_that_left_frees_its_place(
    page: tuple[PageServer, LiveFeed], opened: contextlib.ExitStack
) -> None:
    for _ in range(2 * MAX_VIEWERS):
        viewer = connected(page[0], opened)
        viewer.sendall(_EVENTS)
        assert viewer.recv(15) == b"HTTP/1.1 200 OK"
        viewer.close()
        until(lambda: not page[0]._viewers, "the place is free")
