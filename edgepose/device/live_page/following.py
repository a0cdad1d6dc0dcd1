"""The live page of a run that streams to a Unix socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.device.live_page.live_page_sink import skeleton_line
from edgepose.device.live_page.page_process import follow, open_page
from edgepose.device.live_page.page_server import ADDRESS
from edgepose.errors import ConfigError
from edgepose.pose.skeletons import SKELETONS


def show_page(path: Path, port: int, stop: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Serves the page until it is stopped, also while the service is away.

    Args:
        path: The socket.
        port: On 127.0.0.1; 0 takes a free one.
        stop: Asked twice a second.
        say: Takes the address.

    Raises:
        ConfigError: The port is taken.
    """
    try:
        server, feed = open_page(port)
    except OSError as problem:
        raise ConfigError(
            f"Cannot serve the page on {ADDRESS}:{port}: {problem.strerror}.",
            "Choose another --port; 0 takes a free one.",
        ) from problem
    say(f"Live page, on this machine alone: {server.address}")
    # A stream names its skeleton; the limbs of those that edgepose knows are drawn.
    feed.take([skeleton_line(skeleton) for skeleton in SKELETONS.values()])
    follow(path, feed, stop)
    feed.end()
    server.shutdown()
    server.server_close()
