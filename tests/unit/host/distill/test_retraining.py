"""A device's request as the job of a distillation: which student, and do the pictures show what drifted."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.distill.persons import TrainingPerson
from edgepose.host.distill.retraining import answer_to, describe_answer, read_request, student_for
from edgepose.pose.skeletons import COCO17
from edgepose.records.drift_record import DriftEvent, DriftSize, FeatureName, RetrainingRequest
from edgepose.records.record import to_json
from tests.support.pictures import level_picture, persons_at


def event(feature: FeatureName, reference: float, typical: float) -> DriftEvent:
    """It went from one to the other."""
    size = DriftSize(psi=4.0, ks=0.8, outside=None, typical=typical, reference=reference)
    return DriftEvent(feature=feature, kind="shifted", size=size, since="2026-01-01T00:00:00Z")


def request(*drifted: DriftEvent, model: str = "edgepose-n") -> RetrainingRequest:
    """Of some device."""
    return RetrainingRequest(
        requested_at="2026-01-01T00:00:00Z",
        model=model,
        model_sha256="a" * 64,
        bundle_version=3,
        precision="int8",
        recipe=None,
        profile="raspberrypi5",
        reference_sha256=None,
        drifted=drifted,
        pictures=(),
    )


def written(path: Path, record: RetrainingRequest) -> Path:
    """As a file."""
    path.write_text(to_json(record))
    return path


def pictured(folder: Path, levels: list[int], height_px: float) -> list[TrainingPerson]:
    """A standing person in each of some grey pictures."""
    person = persons_at([(160.0, 120.0)], height_px)
    assert person.boxes_xyxy_px is not None
    found = []
    for number, level in enumerate(levels):
        path = folder / f"{number}.png"
        assert cv2.imwrite(str(path), level_picture(level, (320, 240)))
        found.append(
            TrainingPerson(
                path,
                person.boxes_xyxy_px[0].astype(np.float64),
                person.keypoints_px[0].astype(np.float64),
                np.ones(17, np.bool_),
                0,
            )
        )
    return found


def test_a_students_request_is_answered_by_the_same_student_and_anothers_by_the_one_that_ships() -> None:
    assert student_for(request()) == "edgepose-n"
    assert student_for(request(model="tinypose_256x192")) == "edgepose-s"


def test_a_request_in_which_nothing_drifted_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing drifted"):
        read_request(written(tmp_path / "r.json", request()))


@pytest.mark.parametrize(("levels", "share"), [([200, 220], 0.0), ([200, 30], 0.5), ([10, 30], 1.0)])
def test_dark_training_pictures_are_counted(tmp_path: Path, levels: list[int], share: float) -> None:
    asked = written(tmp_path / "r.json", request(event("brightness", 0.7, 0.1)))
    answer = answer_to(asked, pictured(tmp_path, levels, 100.0), COCO17)
    assert answer.pictures == 2
    assert [one.share for one in answer.coverage] == [share]
    warned = any("none of the training pictures shows it" in line for line in describe_answer(answer))
    assert warned is (share == 0)


@pytest.mark.parametrize(("height_px", "share"), [(120.0, 0.0), (20.0, 1.0)])
def test_small_persons_are_counted_by_their_labels(tmp_path: Path, height_px: float, share: float) -> None:
    asked = written(tmp_path / "r.json", request(event("scale", -1.0, -4.0)))
    answer = answer_to(asked, pictured(tmp_path, [90, 90], height_px), COCO17)
    assert [one.share for one in answer.coverage] == [share]


def test_what_takes_a_camera_to_see_is_not_claimed(tmp_path: Path) -> None:
    asked = written(tmp_path / "r.json", request(event("jitter", -8.0, -3.0), event("confidence", 0.9, 0.4)))
    answer = answer_to(asked, pictured(tmp_path, [90], 100.0), COCO17)
    assert [one.share for one in answer.coverage] == [None, None]
    assert all("cannot be told" in line for line in describe_answer(answer)[1:])
