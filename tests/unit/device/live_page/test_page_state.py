"""What the page shows, from lines."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from edgepose.device.events import CaptureEvent
from edgepose.device.live_page.page_state import EVENT, PageState
from edgepose.device.output.pose_sink import pose_line, pose_record
from edgepose.device.output.streams import event_line, skeleton_line
from edgepose.pose.skeletons import COCO17
from tests.support.pictures import persons_at, result_of

TWO = replace(persons_at([(100.0, 120.0), (200.0, 120.0)]), track_ids=np.array([4, 7]))


def event(kind: str, subject: str = "", value: float | None = None) -> bytes:
    return json.dumps({"schema": EVENT, "kind": kind, "subject": subject, "value": value}).encode()


def test_the_newest_skeletons_with_their_limbs() -> None:
    state = PageState()
    state.take(skeleton_line(COCO17), 0.0)
    for index in range(3):
        state.take(pose_line(result_of(TWO, index)), index * 0.1)
    assert state.number == 3
    assert state.view is not None
    assert state.view["frame"] == 2
    assert state.view["size"] == [320, 240]
    assert state.view["edges"] == list(COCO17.edges)
    assert [person["id"] for person in state.view["persons"]] == [4, 7]
    assert len(state.view["persons"][0]["points"]) == 17


def test_figures_are_of_the_last_seconds() -> None:
    state = PageState()
    assert state.figures(0.0, None)["state"] == "waiting"
    for index in range(100):
        state.take(pose_line(replace(result_of(TWO, index), latency_ms=float(index))), index * 0.1)
    figures = state.figures(9.9, 51.5)
    assert figures["state"] == "live"
    assert figures["fps"] == 10.0
    assert 80 < figures["latency_p50_ms"] < 90
    assert figures["latency_p95_ms"] > figures["latency_p50_ms"]
    assert (figures["persons"], figures["temperature_celsius"]) == (2, 51.5)
    later = state.figures(20.0, None)
    assert (later["state"], later["fps"], later["latency_p50_ms"]) == ("waiting", None, None)
    state.ended = True
    assert state.figures(20.0, None)["state"] == "ended"


def test_drift_and_a_lower_rate_come_and_go() -> None:
    state = PageState()
    state.take(event("drift_started", "brightness", 0.4), 0.0)
    state.take(event("rate_lowered", "heat", 12.5), 0.0)
    state.take(event("something_new"), 0.0)
    figures = state.figures(0.0, None)
    assert figures["drift"] == [{"feature": "brightness", "size": 0.4}]
    assert figures["limit_fps"] == 12.5
    state.take(event("drift_ended", "brightness"), 0.0)
    state.take(event("rate_restored"), 0.0)
    figures = state.figures(0.0, None)
    assert (figures["drift"], figures["limit_fps"]) == ([], None)


def test_what_the_camera_went_through_reaches_the_page() -> None:
    state = PageState()
    assert state.figures(0.0, None)["camera"] is None
    lost = CaptureEvent(kind="lost", reason="The camera at rtsp://user:secret@host is gone.")
    back = CaptureEvent(kind="recovered", reason="It is back.", outage_s=3.0)
    for happened, shown in ((lost, "camera_lost"), (back, "camera_restarted")):
        state.take(event_line(happened.as_event()), 0.0)
        assert state.figures(0.0, None)["camera"] == shown
    assert b"secret" not in event_line(lost.as_event())


def test_what_a_line_holds_beside_poses_does_not_go_on() -> None:
    record = pose_record(result_of(TWO))
    record["image"] = "iVBORw0KGgo"
    record["poses"][0]["crop"] = "iVBORw0KGgo"
    state = PageState()
    state.take(json.dumps(record).encode(), 0.0)
    assert "iVBOR" not in json.dumps(state.view)
    assert "iVBOR" not in json.dumps(state.figures(0.0, None))


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"[]", b"3", b'{"schema":"edgepose.poses/1"}', b'{"schema":"edgepose.poses/1","poses":3}'],
)
def test_a_damaged_line_is_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        PageState().take(line, 0.0)


def test_a_coordinate_that_is_no_number_or_infinite_is_refused() -> None:
    for wrong in ('"<img>"', "NaN", "Infinity", "[1]"):
        line = pose_line(result_of(TWO)).decode().replace("[145.0", f"[{wrong}", 1)
        line = line.replace('"keypoints":[[', f'"keypoints":[[{wrong},', 1)
        with pytest.raises(ValueError):
            PageState().take(line.encode(), 0.0)


def test_a_line_of_another_schema_changes_nothing() -> None:
    state = PageState()
    state.take(b'{"schema":"edgepose.poses/2","poses":[]}', 0.0)
    assert state == PageState()


@pytest.mark.parametrize(
    "line",
    [
        b'{"schema":"edgepose.page/1","skeleton":"x","edges":[[0,1e400]]}',
        b"[" * 100_000,
        b'{"schema":"edgepose.page_event/1","kind":"drift_started","subject":"a","value":1e999}',
        b'{"schema":"edgepose.page_event/1","kind":"drift_started","subject":"a","value":[]}',
        b"[1]",
        b"7",
        b"null",
        b'"text"',
        b'{"schema":[]}',
        b'{"schema":"edgepose.poses/1","poses":{}}',
        b'{"schema":"edgepose.page/1","skeleton":"x","edges":7}',
        (
            b'{"schema":"edgepose.poses/1","frame":1,"width_px":1,"height_px":1,"skeleton":"x","dropped_before":0,'
            b'"latency_ms":1,"poses":[{"track_id":1,"keypoints":[[1e999,1,1]]}]}'
        ),
        (
            b'{"schema":"edgepose.poses/1","frame":1,"width_px":1,"height_px":1,"skeleton":"x","dropped_before":NaN,'
            b'"latency_ms":1,"poses":[]}'
        ),
        b'{"schema":"edgepose.poses/1","frame":1,"width_px":1,"height_px":1,"skeleton":"x",'
        b'"dropped_before":' + b"9" * 5000 + b',"latency_ms":1,"poses":[]}',
        b"\xff\xfe\x00",
    ],
    ids=range(15),
)
def test_a_damaged_line_is_refused_whole(line: bytes) -> None:
    state = PageState()
    before = state.figures(0, None)
    if line == b'{"schema":[]}':
        state.take(line, 0)
    else:
        with pytest.raises(ValueError):
            state.take(line, 0)
    assert state.figures(0, None) == before
    assert (state.number, state.view) == (0, None)


def test_what_a_feed_names_is_bounded() -> None:
    state = PageState()
    for number in range(2000):
        state.take(
            b'{"schema":"edgepose.page_event/1","kind":"drift_started","subject":"%d%s","value":1}'
            % (number, b"x" * 1000),
            0,
        )
        state.take(b'{"schema":"edgepose.page/1","skeleton":"%d","edges":[[0,1]]}' % number, 0)
        state.take(_EMPTY % number, 0)
    shown = state.figures(0, None)["drift"]
    assert 0 < len(shown) <= 64
    assert max(len(entry["feature"]) for entry in shown) <= 64
    assert len(state._edges) <= 64
    assert len(state._recent) <= 3000


_EMPTY = (
    b'{"schema":"edgepose.poses/1","frame":%d,"width_px":1,"height_px":1,"skeleton":"x","dropped_before":0,'
    b'"latency_ms":1,"poses":[]}'
)
