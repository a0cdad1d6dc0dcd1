"""The page as a real process and its answers to real requests."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgepose.device.live_page.page_process import follow, open_page
from edgepose.device.live_page.page_server import MAX_VIEWERS
from edgepose.device.output.streams import LivePageSink, SocketSink
from edgepose.errors import ConfigError
from tests.support.pictures import persons_at, result_of
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.timing

RESULT = result_of(persons_at([(100.0, 120.0)]))
ASSETS = Path(__file__).parents[4] / "edgepose" / "device" / "live_page" / "assets"


@pytest.fixture(name="page")
def _page() -> Iterator[LivePageSink]:
    sink = LivePageSink(0, print)
    yield sink
    sink.close(complete=True)


def port_of(page: LivePageSink) -> int:
    return int(page.address.rstrip("/").rpartition(":")[2])


class Caller:
    """Sends requests; its connections live as long as the test."""

    def __init__(self) -> None:
        self.connections: list[http.client.HTTPConnection] = []
        self.answers: list[http.client.HTTPResponse] = []

    def __call__(
        self, port: int, path: str = "/", method: str = "GET", **headers: str
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
        self.connections.append(connection)
        connection.request(method, path, headers={n.replace("_", "-"): text for n, text in headers.items()})
        self.answers.append(connection.getresponse())
        return self.answers[-1]


@pytest.fixture(name="get")
def _get() -> Iterator[Caller]:
    caller = Caller()
    yield caller
    for opened in (*caller.answers, *caller.connections):
        opened.close()


def next_event(stream: http.client.HTTPResponse, kind: str) -> dict[str, Any]:
    while True:
        line = stream.readline()
        assert line, "the stream ended"
        if line == f"event: {kind}\n".encode():
            found: dict[str, Any] = json.loads(stream.readline().removeprefix(b"data: "))
            return found


def test_skeletons_and_figures_come_as_events(get: Caller, page: LivePageSink) -> None:
    stream = get(port_of(page), "/events")
    assert stream.status == 200
    assert stream.getheader("Content-Type") == "text/event-stream"
    assert next_event(stream, "figures")["state"] == "waiting"
    page.write(RESULT)
    view = next_event(stream, "poses")
    assert len(view["persons"][0]["points"]) == 17
    assert len(view["edges"]) > 10
    assert next_event(stream, "figures")["state"] == "live"
    page.close(complete=True)
    while next_event(stream, "figures")["state"] != "ended":
        pass


def test_a_viewer_who_does_not_read_holds_nobody_up(get: Caller, page: LivePageSink) -> None:
    get(port_of(page), "/events")
    for _ in range(3000):
        page.write(RESULT)
    assert next_event(get(port_of(page), "/events"), "poses")["size"] == [320, 240]


def test_it_listens_on_loopback_alone(page: LivePageSink) -> None:
    port = port_of(page)
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path("/proc/net/tcp6").read_text().splitlines()[1:]]
    # proc(5): the address is in the machine's byte order, 0A is LISTEN.
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port:04X}")]
    assert listening == [f"0100007F:{port:04X}"]
    with socket.socket() as other:
        other.settimeout(PATIENCE_S)
        with pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.2", port))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "192.168.0.7"]
)
def test_a_name_that_is_not_loopbacks_is_refused(get: Caller, page: LivePageSink, host: str) -> None:
    for path in ("/", "/events", "/page.js"):
        assert get(port_of(page), path, Host=host).status == 421


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:9000", "LOCALHOST:1", "[::1]:8765"])
def test_loopbacks_names_are_answered_also_behind_another_port(
    get: Caller, page: LivePageSink, host: str
) -> None:
    assert get(port_of(page), "/", Host=host).status == 200


def test_a_foreign_page_cannot_listen(get: Caller, page: LivePageSink) -> None:
    assert get(port_of(page), "/events", Sec_Fetch_Site="cross-site").status == 403
    assert get(port_of(page), "/events", Sec_Fetch_Site="same-site").status == 403
    assert get(port_of(page), "/events", Sec_Fetch_Site="same-origin").status == 200
    assert get(port_of(page)).getheader("Access-Control-Allow-Origin") is None


def test_nothing_but_the_page_is_served_and_nothing_is_taken(get: Caller, page: LivePageSink) -> None:
    port = port_of(page)
    for path in ("/../page_server.py", "/assets/page.html", "/%2e%2e/", "/favicon.ico", "/etc/passwd"):
        assert get(port, path).status == 404
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        assert get(port, "/", method).status == 501
    assert get(port, "/", "HEAD").read() == b""


def test_every_answer_forbids_pictures_and_whatever_comes_from_elsewhere(
    get: Caller, page: LivePageSink
) -> None:
    for path in ("/", "/page.css", "/page.js", "/nothing"):
        answer = get(port_of(page), path)
        policy = answer.getheader("Content-Security-Policy") or ""
        assert "default-src 'none'" in policy
        assert "img-src" not in policy
        assert "unsafe" not in policy
        assert answer.getheader("Cache-Control") == "no-store"


def test_the_page_holds_no_picture_no_foreign_address_and_nothing_inline() -> None:
    for path in ASSETS.iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://|//[a-z]", text.replace("// ", ""))
        assert not re.search(r"<img|<video|url\(|innerHTML|eval\(| on\w+=|style=\"|data:image", text)


def test_more_viewers_than_seats_are_told(get: Caller, page: LivePageSink) -> None:
    port = port_of(page)
    streams = [get(port, "/events") for _ in range(MAX_VIEWERS)]
    assert {stream.status for stream in streams} == {200}
    assert get(port, "/events").status == 503


def test_a_taken_port_is_a_clear_error(page: LivePageSink) -> None:
    with pytest.raises(ConfigError, match=r"Cannot serve the page on 127\.0\.0\.1:\d+: Address already"):
        LivePageSink(port_of(page), print)


def test_a_page_that_hangs_or_was_killed_does_not_stop_the_run(page: LivePageSink) -> None:
    assert page._process is not None
    process = page._process._process
    process.send_signal(signal.SIGSTOP)
    for _ in range(4000):
        page.write(RESULT)
    assert page._process.dropped > 0
    process.kill()
    process.wait()
    page.write(RESULT)


def test_the_page_of_a_service_follows_its_socket_through_a_restart(get: Caller, tmp_path: Path) -> None:
    path, done = tmp_path / "poses.sock", threading.Event()
    server, feed = open_page(0)
    follower = threading.Thread(target=follow, args=(path, feed, done.is_set))
    follower.start()
    stream = get(server.server_port, "/events")
    for run in (1, 2):
        sink = SocketSink(path, print)

        def has_come(sink: SocketSink = sink, count: int = run * 3) -> bool:
            sink.write(RESULT)
            return feed.newest()[0] >= count

        until(has_come, "frames on the page")
        sink.close(complete=True)
    assert next_event(stream, "poses")["persons"]
    done.set()
    follower.join(PATIENCE_S)
    server.shutdown()
    server.server_close()


def test_no_line_ends_the_process(get: Caller, page: LivePageSink) -> None:
    assert page._process is not None
    bad = (
        b'{"schema":"edgepose.page/1","skeleton":"x","edges":[[0,1e400]]}',
        b"[" * 100_000,
        b"[1]",
        b"\xff\x00",
        b"x" * (5 << 20),
    )
    for line in bad:
        until(
            lambda line=line: page._process is not None and page._process.send(line + b"\n"),
            "room for a line",
        )
    stream = get(port_of(page), "/events")

    def is_live() -> bool:
        page.write(RESULT)
        return next_event(stream, "figures")["state"] == "live"

    until(is_live, "a live page")
