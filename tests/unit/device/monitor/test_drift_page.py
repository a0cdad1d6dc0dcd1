"""The page of a service: poses by its socket, drift by its device root."""

from __future__ import annotations

import http.client
import json
import threading
from pathlib import Path

import pytest

from edgepose.device.monitor.drift_files import DriftFiles
from edgepose.device.monitor.drift_page import DriftNews, show_page
from edgepose.records.drift_record import DriftEvent, DriftSize, DriftStatus, FeatureName
from tests.support.waiting import PATIENCE_S, until


def know(root: Path, *features: FeatureName, until: str | None = None) -> None:
    """A service found these features drifting."""
    size = DriftSize(psi=2.5, ks=0.5, outside=None, typical=0.1, reference=0.5)
    events = [
        DriftEvent(feature=name, kind="shifted", size=size, since="2026-01-01T00:00:00Z", until=until)
        for name in features
    ]
    DriftFiles(root).write(None, DriftStatus(model_sha256="a" * 64, events=tuple(events)))


def told(news: DriftNews) -> list[tuple[str, str]]:
    """Kind and feature of each new event."""
    records = [json.loads(line) for line in news.lines()]
    return [(record["kind"], record["subject"]) for record in records]


def test_what_drifts_is_told_once_and_again_when_it_changes(tmp_path: Path) -> None:
    news = DriftNews(tmp_path)
    assert told(news) == []
    know(tmp_path, "brightness")
    assert told(news) == [("drift_started", "brightness")]
    assert told(news) == []
    know(tmp_path, "sharpness")
    assert told(news) == [("drift_ended", "brightness"), ("drift_started", "sharpness")]
    know(tmp_path, "sharpness", until="2026-01-01T01:00:00Z")
    assert told(news) == [("drift_ended", "sharpness")]


def test_a_damaged_file_shows_no_drift(tmp_path: Path) -> None:
    know(tmp_path, "brightness")
    news = DriftNews(tmp_path)
    assert told(news)
    (tmp_path / "var" / "drift" / "status.json").write_text("{")
    assert told(news) == [("drift_ended", "brightness")]


@pytest.mark.timing
def test_the_page_shows_what_the_service_knows_about_drift(tmp_path: Path) -> None:
    know(tmp_path, "tilt")
    said: list[str] = []
    done = threading.Event()
    show = (tmp_path / "poses.sock", tmp_path, 0, done.is_set, said.append)
    server = threading.Thread(target=show_page, args=show)
    server.start()
    until(lambda: said, "the page's address")
    try:
        port = int(said[0].rstrip("/").rpartition(":")[2])
        assert _drift_on(port) == [{"feature": "tilt", "size": 2.5}]
    finally:
        done.set()
        server.join(PATIENCE_S)


def _drift_on(port: int) -> list[dict[str, object]]:
    """What the page's figures say once they say something."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    connection.request("GET", "/events")
    answer = connection.getresponse()
    try:
        while line := answer.readline():
            if line == b"event: figures\n":
                figures = json.loads(answer.readline().removeprefix(b"data: "))
                if figures["drift"]:
                    found: list[dict[str, object]] = figures["drift"]
                    return found
        return []
    finally:
        answer.close()
        connection.close()
