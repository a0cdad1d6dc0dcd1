"""``python -m edgepose.device.live_page.page_process PORT``: the page for lines of standard input.

A process of its own, with no memory, no camera and no descriptor of the run: what it can show is what the
lines hold, and they hold no image.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from edgepose.device.live_page.page_server import ADDRESS, LiveFeed, PageServer
from edgepose.device.output.line_splitter import LineSplitter

_PIECE_BYTES = 1 << 18
_AGAIN_S = 1.0
# Browsers get the news of the end before the server goes.
_LAST_NEWS_S = 0.3


def temperature_celsius() -> float | None:
    """The hottest thermal zone, as :mod:`edgepose.runtime.machine` reads it, without its imports."""
    values = []
    for path in Path("/sys/class/thermal").glob("thermal_zone*/temp"):
        with suppress(OSError):
            values.append(int(path.read_text(encoding="ascii")) / 1000)
    return max(values, default=None)


def open_page(port: int) -> tuple[PageServer, LiveFeed]:
    """Serves the page in a thread.

    Raises:
        OSError: The port is taken.
    """
    feed = LiveFeed(temperature_celsius)
    server = PageServer(port, feed)
    threading.Thread(target=server.serve_forever, name="page", daemon=True).start()
    return server, feed


def pump(source: int, feed: LiveFeed) -> None:
    """Takes lines from a descriptor until they end."""
    lines = LineSplitter()
    while piece := os.read(source, _PIECE_BYTES):
        feed.take(lines.take(piece))


def follow(path: Path, feed: LiveFeed, stop: Callable[[], bool]) -> None:
    """Takes lines from a Unix socket, again and again where a service is restarted."""
    while not stop():
        for piece in _pieces_of(path, stop):
            feed.take(piece)
        for _ in range(10):
            if not stop():
                time.sleep(_AGAIN_S / 10)


def _pieces_of(path: Path, stop: Callable[[], bool]) -> Iterator[list[bytes]]:
    lines = LineSplitter()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection, suppress(OSError):
        connection.connect(str(path))
        connection.settimeout(0.5)
        while not stop():
            with suppress(TimeoutError):
                piece = connection.recv(_PIECE_BYTES)
                if not piece:
                    return
                yield lines.take(piece)


def main() -> None:
    """Says ``Started``, serves until standard input ends, says ``Ended``."""
    from edgepose.device.output.streams import Ended, Started
    from edgepose.records.record import to_json

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    port = int(sys.argv[1])
    try:
        server, feed = open_page(port)
    except OSError as problem:
        started = Started(
            problem=f"Cannot serve the page on {ADDRESS}:{port}: {problem.strerror}.",
            hint="Choose another --port; 0 takes a free one.",
        )
        print(to_json(started), flush=True)  # noqa: T201 (the protocol)
        return
    print(to_json(Started(place=server.address)), flush=True)  # noqa: T201
    pump(sys.stdin.fileno(), feed)
    feed.end()
    time.sleep(_LAST_NEWS_S)
    with suppress(BrokenPipeError):
        print(to_json(Ended()), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
