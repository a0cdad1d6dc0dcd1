"""Between two detections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepose.device.run.following import FollowedPersons
from edgepose.pose.poses import Poses
from tests.support.pictures import persons_at

_WH = (640, 480)


def _detect(persons: FollowedPersons, poses: Poses) -> None:
    assert poses.boxes_xyxy_px is not None
    persons.detected(poses.boxes_xyxy_px, poses.scores)


def _see(persons: FollowedPersons, poses: Poses, accepted: list[bool] | None = None) -> list[bool]:
    words = np.array([True] * len(poses) if accepted is None else accepted, bool)
    return [bool(word) for word in persons.seen(poses, words, _WH)]


def _frames_with_detection(persons: FollowedPersons, poses: list[Poses], every: int) -> list[int]:
    asked = []
    for index, frame in enumerate(poses):
        if persons.needs_detection(every):
            asked.append(index)
            _detect(persons, frame)
        _see(persons, frame)
    return asked


def test_the_detector_is_asked_every_so_many_frames() -> None:
    frames = [persons_at([(200 + i, 240), (400, 240)]) for i in range(21)]
    assert _frames_with_detection(FollowedPersons(), frames, 5) == [0, 5, 10, 15, 20]
    assert _frames_with_detection(FollowedPersons(), frames, 1) == list(range(21))


def test_with_nobody_in_sight_every_frame_is_asked() -> None:
    assert _frames_with_detection(FollowedPersons(), [persons_at([])] * 4, 10) == [0, 1, 2, 3]


def test_a_loss_asks_the_detector_once() -> None:
    persons, two, one = FollowedPersons(), persons_at([(200, 240), (400, 240)]), persons_at([(200, 240)])
    _detect(persons, two)
    _see(persons, two)
    assert not persons.needs_detection(10)
    assert _see(persons, two, [True, False]) == [True, False]
    assert persons.needs_detection(10)
    _detect(persons, one)
    _see(persons, one)
    assert not persons.needs_detection(10)
    assert len(persons.boxes) == 1


def test_a_detection_that_the_pose_model_refuses_is_no_loss() -> None:
    persons, two = FollowedPersons(), persons_at([(200, 240), (400, 240)])
    _detect(persons, two)
    _see(persons, two, [True, False])
    assert not persons.needs_detection(10)


def test_a_moving_person_is_looked_for_where_the_motion_leads() -> None:
    persons = FollowedPersons()
    _detect(persons, persons_at([(200, 240)]))
    _see(persons, persons_at([(200, 240)]))
    standing = persons.boxes[0].copy()
    _see(persons, persons_at([(230, 240)]))
    assert persons.boxes[0] == pytest.approx(standing + np.array([60, 0, 60, 0]), abs=0.1)
    # Negative control: without motion the box stays.
    _see(persons, persons_at([(230, 240)]))
    assert persons.boxes[0] == pytest.approx(standing + np.array([30, 0, 30, 0]), abs=0.1)


def test_a_new_person_joins_at_the_next_detection_and_an_overlooked_one_stays() -> None:
    persons = FollowedPersons()
    _detect(persons, persons_at([(150, 240)]))
    _see(persons, persons_at([(150, 240)]))
    _detect(persons, persons_at([(450, 240)], score=0.7))
    centres = sorted(((persons.boxes[:, 0] + persons.boxes[:, 2]) / 2).tolist())
    assert centres == pytest.approx([150, 450], abs=2)
    assert sorted(persons.scores.tolist()) == pytest.approx([0.7, 0.9])


def test_a_person_detected_again_is_not_doubled() -> None:
    persons = FollowedPersons()
    for _ in range(3):
        _detect(persons, persons_at([(150, 240)]))
        assert len(persons.boxes) == 1
        _see(persons, persons_at([(150, 240)]))


def test_two_boxes_that_end_on_one_person_report_the_better_one() -> None:
    persons = FollowedPersons()
    apart = persons_at([(200, 240), (400, 240)])
    _detect(persons, apart)
    _see(persons, apart)
    merged = replace(persons_at([(200, 240), (201, 240)]), scores=np.array([0.5, 0.8], np.float32))
    assert _see(persons, merged) == [False, True]
    assert not persons.needs_detection(10), "one person found twice is not lost"
    # Negative control: two persons side by side are two.
    assert _see(_followed(apart), apart) == [True, True]


def _followed(poses: Poses) -> FollowedPersons:
    persons = FollowedPersons()
    _detect(persons, poses)
    return persons


def test_somebody_who_leaves_the_picture_is_dropped() -> None:
    persons = FollowedPersons()
    for x in (560, 600, 640, 680, 720):
        frame = persons_at([(x, 240)])
        if persons.needs_detection(100) and x == 560:
            _detect(persons, frame)
        if len(persons.boxes):
            _see(persons, frame)
    assert len(persons.boxes) == 0
