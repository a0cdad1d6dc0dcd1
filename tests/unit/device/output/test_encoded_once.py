"""One encoding a frame, whatever takes it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from edgepose.device.events import EventBus
from edgepose.device.output import pose_sink
from edgepose.device.output.pose_sink import JsonlSink, pose_line
from edgepose.device.output.streams import LivePageSink, SocketSink
from edgepose.records.telemetry_record import RuntimeEvent
from tests.support.pictures import persons_at, result_of
from tests.support.waiting import PATIENCE_S

pytestmark = pytest.mark.timing


def test_file_socket_and_page_get_the_same_bytes_of_one_encoding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[dict[str, object]] = []
    real = pose_sink._encode

    def counting(record: dict[str, object]) -> bytes:
        encoded.append(record)
        return real(record)

    monkeypatch.setattr(pose_sink, "_encode", counting)
    file, path = tmp_path / "p.jsonl", tmp_path / "poses.sock"
    sinks = [JsonlSink(file), SocketSink(path, print), LivePageSink(0, lambda _line: None)]
    frames = [result_of(persons_at([(100.0, 120.0)]), index) for index in range(10)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as reader:
        reader.settimeout(PATIENCE_S)
        reader.connect(str(path))
        for frame in frames:
            for sink in sinks:
                sink.write(frame)
        assert [record["frame"] for record in encoded] == list(range(10))
        for sink in sinks:
            sink.close(complete=True)
        streamed = b""
        while piece := reader.recv(1 << 16):
            streamed += piece
    # The server may accept a reader after the first lines.
    assert streamed
    assert file.read_bytes().endswith(streamed)
    # The negative control: another frame is another encoding.
    assert pose_line(frames[0]) == file.read_bytes().splitlines(keepends=True)[0]
    assert len(encoded) == 11


def test_lines_are_plain_json_that_every_reader_reads_the_same(tmp_path: Path) -> None:
    result = result_of(persons_at([(100.0, 120.0), (-3.25, 0.0)]))
    record = pose_sink.pose_record(result)
    assert json.loads(result.line) == record
    assert result.line == (json.dumps(record, separators=(",", ":")) + "\n").encode()


def test_an_event_reaches_every_listener_at_once_in_order() -> None:
    bus, told = EventBus(), list[tuple[str, str]]()
    for name in ("telemetry", "page"):
        bus.subscribe(lambda event, name=name: told.append((name, event.kind)))  # type: ignore[misc]
    bus.publish(RuntimeEvent(kind="camera_lost"))
    bus.publish(RuntimeEvent(kind="camera_restarted"))
    assert told == [
        ("telemetry", "camera_lost"), ("page", "camera_lost"),
        ("telemetry", "camera_restarted"), ("page", "camera_restarted"),
    ]  # fmt: skip
