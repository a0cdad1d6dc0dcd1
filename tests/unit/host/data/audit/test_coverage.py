"""Bins of pictures and persons, and what is said to be missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.coverage import coverage, person_bins, person_figures
from edgepose.host.data.audit.folder_audit import missing_persons, missing_slices
from edgepose.host.data.audit.near_copies import ImageFacts
from edgepose.pose.skeletons import COCO17

# A person 100 px high who stands and is seen from the front: left is on the picture's right.
STANDING: dict[str, tuple[float, float]] = {
    "nose": (0, -95), "left_eye": (3, -97), "right_eye": (-3, -97), "left_ear": (5, -95),
    "right_ear": (-5, -95), "left_shoulder": (12, -82), "right_shoulder": (-12, -82),
    "left_elbow": (15, -62), "right_elbow": (-15, -62), "left_wrist": (16, -45), "right_wrist": (-16, -45),
    "left_hip": (8, -50), "right_hip": (-8, -50), "left_knee": (8, -27), "right_knee": (-8, -27),
    "left_ankle": (8, -4), "right_ankle": (-8, -4),
}  # fmt: skip


def person(turn_degrees: float = 0.0, /, **changed: tuple[float, float]) -> AuditedPerson:
    points = np.array([(STANDING | changed)[name] for name in COCO17.keypoint_names], dtype=np.float64)
    angle = np.radians(turn_degrees)
    points = points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    points += (200, 240)
    low, high = points.min(axis=0) - 4, points.max(axis=0) + 4
    return AuditedPerson(
        file="a.png",
        annotation_id=1,
        image_wh=(400, 400),
        box_xyxy_px=np.concatenate([low, high]),
        area_px2=float((high - low).prod()),
        names=COCO17.keypoint_names,
        keypoints_px=points,
        there=np.ones(17, bool),
        visible=np.ones(17, bool),
    )


def picture(brightness: float = 100.0, contrast: float = 50.0, sharpness: float = 900.0) -> ImageFacts:
    return ImageFacts(
        Path("a.png"),
        "0",
        400,
        400,
        brightness,
        contrast,
        sharpness,
        np.uint64(0),
        np.zeros((64, 64), np.uint8),
    )


MIRRORED = {
    name: STANDING[name.replace("left", "right") if "left" in name else name.replace("right", "left")]
    for name in STANDING
}
SITTING = {f"{side}_knee": (sign * 30.0, -48.0) for side, sign in (("left", 1), ("right", -1))}
KNEELING = {f"{side}_ankle": (sign * 38.0, -30.0) for side, sign in (("left", 1), ("right", -1))}


@pytest.mark.parametrize(
    ("seen", "group", "name"),
    [
        (person(), "torso", "upright"),
        (person(45), "torso", "leaning"),
        (person(-90), "torso", "lying"),
        (person(170), "torso", "upside_down"),
        (person(), "facing", "front"),
        (person(**MIRRORED), "facing", "back"),
        (person(120, **MIRRORED), "facing", "back"),
        (person(left_shoulder=(1, -82), right_shoulder=(-1, -82)), "facing", "side"),
        (person(), "arms", "down"),
        (person(right_wrist=(-20, -99)), "arms", "raised"),
        (person(180), "arms", "down"),
        (person(), "legs", "straight"),
        (person(**SITTING), "legs", "sitting"),
        (person(**KNEELING), "legs", "knees_bent"),
        (person(), "completeness", "whole"),
        (person(), "scale", "small"),
    ],
)
def test_each_pose_falls_into_its_bin(seen: AuditedPerson, group: str, name: str) -> None:
    assert person_bins(seen)[group] == name


def test_what_is_not_labelled_cannot_be_told() -> None:
    there = np.array(["hip" not in name and "knee" not in name for name in COCO17.keypoint_names])
    bins = person_bins(replace(person(), there=there, visible=there))
    assert {"torso", "facing", "legs"}.isdisjoint(bins)
    assert bins["completeness"] == "occluded"


def test_hidden_keypoints_at_the_border_are_a_truncated_person() -> None:
    seen = person()
    there = np.array(["ankle" not in name for name in seen.names])
    cut = replace(seen, there=there, visible=there, image_wh=(400, 241))
    assert person_bins(cut)["completeness"] == "truncated"


def test_even_groups_have_entropy_1_and_lopsided_ones_0() -> None:
    pictures = [picture(brightness=level) for level in (20, 100, 200)]
    slices, balance = coverage(pictures, [], [])
    by_group = {group.group: group for group in balance}
    assert by_group["brightness"].entropy == 1
    assert by_group["contrast"].entropy == 0
    assert (by_group["contrast"].min_share, by_group["contrast"].max_share) == (0, 1)
    assert [s.count for s in slices if s.group == "brightness"] == [1, 1, 1]
    assert "torso" not in by_group


def test_missing_bins_are_said_in_words_and_filled_ones_are_not() -> None:
    pictures = [picture(brightness=100 if index % 2 else 20) for index in range(40)]
    persons = [person(), person(45), person(-90)] * 10
    words = missing_slices(*coverage(pictures, persons, ["a.png"]))
    assert "no bright pictures (mean grey from 150)" in words
    assert "no sitting persons" in words
    assert not [word for word in words if "dark" in word or "lying" in word]
    assert "nearly everything in one bin: facing is front in 100%" in words


def test_few_persons_say_little_about_poses() -> None:
    words = missing_slices(*coverage([picture()] * 40, [person()] * 3, ["a.png"]))
    assert "more persons to judge poses by: torso is known of 3 only" in words
    assert "no sitting persons" not in words


def test_unknown_poses_are_said_to_be_unknown() -> None:
    assert "labels or --model" in missing_persons(person_figures([], "none"), 0)[0]
    assert missing_persons(person_figures([person()], "labels"), 1) == []
