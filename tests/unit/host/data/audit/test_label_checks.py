"""Labels that contradict themselves are named; exact labels are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.label_errors import counts_by_kind, ranked, suspicious_labels
from edgepose.host.synthetic.composition import draw_scene
from edgepose.pose.skeletons import COCO17
from edgepose.records.data_audit import LabelError
from tests.support.planted_data import moved, swapped

SIZE_WH = (320, 240)
PERSONS = 60


@pytest.fixture(scope="module")
def persons() -> list[AuditedPerson]:
    """Figures whose labels are true by construction."""
    found = []
    for seed in range(PERSONS):
        scene = draw_scene(seed, SIZE_WH)
        found.append(
            AuditedPerson(
                file=f"{seed}.png",
                annotation_id=seed,
                image_wh=SIZE_WH,
                box_xyxy_px=scene.boxes_xyxy_px[0].astype(np.float64),
                area_px2=float(scene.areas_px2[0]),
                names=COCO17.keypoint_names,
                keypoints_px=scene.keypoints_px[0].astype(np.float64),
                there=np.ones(17, bool),
                visible=scene.visible[0],
            )
        )
    return found


def kinds(person: AuditedPerson) -> set[str]:
    return {error.kind for error in suspicious_labels([person])}


def test_true_labels_are_hardly_ever_named(persons: list[AuditedPerson]) -> None:
    # Runners and kneeling persons cross their limbs; three to seven in a hundred look swapped.
    assert sum(bool(kinds(person)) for person in persons) <= 5


@pytest.mark.parametrize(
    ("parts", "least"),
    [
        (("hip",), 0.6),
        (("shoulder",), 0.6),
        (("elbow",), 0.8),
        (("shoulder", "elbow", "wrist"), 0.6),
        (("hip", "knee", "ankle"), 0.6),
    ],
)
def test_swapped_sides_are_named(persons: list[AuditedPerson], parts: tuple[str, ...], least: float) -> None:
    named = [p for p in persons if "left_right_swapped" in kinds(swapped(p, parts))]
    assert len(named) / len(persons) >= least


def test_a_visible_face_gives_a_wholly_swapped_label_away(persons: list[AuditedPerson]) -> None:
    facing = [p for p in persons if all(p.visible[:3])]
    parts = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    named = [p for p in facing if "left_right_swapped" in kinds(swapped(p, parts))]
    assert len(facing) >= 10
    assert len(named) / len(facing) >= 0.6


def _wrist_far_below(person: AuditedPerson) -> AuditedPerson:
    x0, _, x1, y1 = person.box_xyxy_px
    return moved(person, "left_wrist", (x1 + 0.4 * (x1 - x0), y1))


def _beyond_the_border(person: AuditedPerson) -> AuditedPerson:
    return moved(person, "right_ankle", (-25.0, SIZE_WH[1] / 2))


def _long_shank(person: AuditedPerson) -> AuditedPerson:
    knee = person.point("left_knee")
    assert knee is not None
    height = person.box_xyxy_px[3] - person.box_xyxy_px[1]
    return moved(person, "left_ankle", knee + np.array([0.0, -0.9 * height]))


@pytest.mark.parametrize(
    ("plant", "kind"),
    [
        (_wrist_far_below, "outside_box"),
        (_beyond_the_border, "outside_picture"),
        (_long_shank, "limb_ratio"),
    ],
)
def test_planted_errors_are_named(
    persons: list[AuditedPerson], plant: Callable[[AuditedPerson], AuditedPerson], kind: str
) -> None:
    named = [kind in kinds(plant(person)) for person in persons]
    assert np.mean(named) >= 0.9
    assert not any(kind in kinds(person) for person in persons)


def test_one_person_labelled_twice_is_named_and_two_persons_are_not(persons: list[AuditedPerson]) -> None:
    person = persons[0]
    nudged = replace(person, annotation_id=999, keypoints_px=person.keypoints_px + 1.0)
    (error,) = [e for e in suspicious_labels([person, nudged]) if e.kind == "labelled_twice"]
    assert error.annotation_id == 999
    other = replace(persons[1], file=person.file)
    assert not [e for e in suspicious_labels([person, other]) if e.kind == "labelled_twice"]


def test_keypoints_that_are_not_labelled_are_never_named(persons: list[AuditedPerson]) -> None:
    nobody = np.zeros(17, bool)
    bare = replace(persons[0], keypoints_px=np.zeros((17, 2)) - 500, there=nobody, visible=nobody)
    assert kinds(bare) == set()


def test_surest_label_comes_first_and_each_kind_once_a_person() -> None:
    def error(score: float, annotation_id: int) -> LabelError:
        return LabelError(
            file="a", annotation_id=annotation_id, kind="limb_ratio", score=score, reason=str(score)
        )

    found = ranked([error(0.2, 1), error(0.9, 2), error(0.5, 1)])
    assert [(e.score, e.annotation_id) for e in found] == [(0.9, 2), (0.5, 1)]
    assert counts_by_kind(found) == {"limb_ratio": 2}
