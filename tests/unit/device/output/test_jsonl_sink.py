"""``edgepose.poses/1``, line by line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.device.output.pose_sink import FrameResult, JsonlSink, pose_record
from edgepose.errors import ConfigError, ModelError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from tests.support.pictures import persons_at, result_of


def _tracked(poses: Poses) -> Poses:
    return replace(poses, track_ids=np.arange(1, len(poses) + 1))


def test_a_line_has_exactly_the_documented_keys_in_order() -> None:
    record = pose_record(result_of(_tracked(persons_at([(100, 100)]))))
    assert list(record) == [
        "schema",
        "frame",
        "timestamp_ns",
        "width_px",
        "height_px",
        "dropped_before",
        "latency_ms",
        "skeleton",
        "poses",
    ]
    assert record["schema"] == "edgepose.poses/1"
    assert (record["width_px"], record["height_px"]) == (320, 240)
    assert record["latency_ms"] == 7.25
    (person,) = record["poses"]
    assert list(person) == ["track_id", "score", "box_xyxy_px", "keypoints"]
    assert person["track_id"] == 1
    assert len(person["box_xyxy_px"]) == 4
    assert [len(row) for row in person["keypoints"]] == [3] * 17


def test_numbers_have_two_and_four_decimals() -> None:
    poses = persons_at([(100, 100)])
    poses.keypoints_px[0, 0] = (12.345678, -0.001)
    poses.keypoint_scores[0, 0] = 0.123456
    line = json.dumps(pose_record(result_of(poses)))
    assert "[12.35, 0.0, 0.1235]" in line
    assert "-0.0]" not in line


def test_lines_are_there_before_the_sink_is_closed(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "p.jsonl")
    for index in range(3):
        sink.write(result_of(_tracked(persons_at([(100, 100), (200, 100)])), index))
        lines = (tmp_path / "p.jsonl").read_text().splitlines()
        assert [json.loads(line)["frame"] for line in lines] == list(range(index + 1))
    sink.write(result_of(Poses.empty(COCO17), 3))
    sink.close(complete=True)
    sink.close(complete=True)
    assert json.loads((tmp_path / "p.jsonl").read_text().splitlines()[3])["poses"] == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["keypoints_px", "keypoint_scores", "scores", "boxes_xyxy_px"])
def test_a_value_that_is_no_number_is_refused_and_not_written(
    tmp_path: Path, where: str, value: float
) -> None:
    poses = persons_at([(100, 100)])
    getattr(poses, where).flat[0] = value
    sink = JsonlSink(tmp_path / "p.jsonl")
    with pytest.raises(ModelError, match="NaN or infinite"):
        sink.write(result_of(poses))
    sink.close(complete=False)
    assert (tmp_path / "p.jsonl").read_bytes() == b""


def test_a_model_without_boxes_and_tracks_gives_null() -> None:
    poses = replace(persons_at([(100, 100)]), boxes_xyxy_px=None)
    (person,) = pose_record(result_of(poses))["poses"]
    assert person["box_xyxy_px"] is None
    assert person["track_id"] is None


def test_a_folder_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        JsonlSink(tmp_path / "none" / "p.jsonl")


def test_a_full_disk_is_a_plain_error() -> None:
    sink = JsonlSink(Path("/dev/full"))
    result: FrameResult = result_of(persons_at([(100, 100)]))
    with pytest.raises(ConfigError, match="Cannot write /dev/full: No space left on device"):
        sink.write(result)
    sink.close(complete=False)
