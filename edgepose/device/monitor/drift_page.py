"""The live page of a run that streams to a Unix socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edgepose.device.live_page.page_process import follow, open_page
from edgepose.device.live_page.page_server import ADDRESS
from edgepose.device.monitor.drift_files import DriftFiles
from edgepose.device.monitor.drift_watch import drift_event
from edgepose.device.output.streams import event_line, skeleton_line
from edgepose.errors import ConfigError
from edgepose.pose.skeletons import SKELETONS
from edgepose.records.drift_record import FeatureName


class DriftNews:
    """What changed in what a service knows about drift: poses come by its socket, drift by its root."""

    def __init__(self, root: Path) -> None:
        self._files = DriftFiles(root)
        self._shown: frozenset[FeatureName] = frozenset()
        self._seen_ns: int | None = None

    def lines(self) -> list[bytes]:
        """Events for the page since the last call."""
        written_ns = self._files.written_ns()
        if written_ns == self._seen_ns:
            return []
        self._seen_ns = written_ns
        status = self._files.status()
        sizes = {event.feature: event.size for event in status.going_on} if status is not None else {}
        begun = [drift_event("drift_started", name, sizes[name]) for name in sizes if name not in self._shown]
        ended = [drift_event("drift_ended", name) for name in self._shown - set(sizes)]
        self._shown = frozenset(sizes)
        return [event_line(event) for event in (*ended, *begun)]


def show_page(
    path: Path, root: Path | None, port: int, stop: Callable[[], bool], say: Callable[[str], None]
) -> None:
    """Serves the page until it is stopped, also while the service is away.

    Args:
        path: The socket.
        root: The device root of the service, for what it knows about drift; None shows none.
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
    news = None if root is None else DriftNews(root)

    def asked() -> bool:
        if news is not None and (lines := news.lines()):
            feed.take(lines)
        return stop()

    follow(path, feed, asked)
    feed.end()
    server.shutdown()
    server.server_close()
