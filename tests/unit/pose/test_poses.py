"""Persons by columns: chosen, named, as plain values, and nobody at all."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import BLAZEPOSE33, COCO17, MPII16, Skeleton
from edgepose.pose.transform import letterbox_transform, stretch_transform

FOUR = Skeleton("four", ("a", "b", "c", "d"), ((1, 0), (2, 3)), ((0, 3),), (0.1, 0.2, 0.3, 0.4))


def three() -> Poses:
    return Poses(
        keypoints_px=np.arange(24, dtype=np.float32).reshape(3, 4, 2),
        keypoint_scores=np.arange(12, dtype=np.float32).reshape(3, 4) / 16,
        scores=np.array([0.5, 0.25, 0.75], np.float32),
        skeleton=FOUR,
        boxes_xyxy_px=np.arange(12, dtype=np.float32).reshape(3, 4),
        track_ids=np.array([7, 8, 9]),
    )


def test_chosen_persons_keep_everything_that_is_theirs() -> None:
    for index in (np.array([2, 0]), np.array([False, True, True])):
        chosen, rows = three().select(index), np.arange(3)[index]
        assert chosen.skeleton is FOUR
        for name in ("keypoints_px", "keypoint_scores", "scores", "boxes_xyxy_px", "track_ids"):
            np.testing.assert_array_equal(getattr(chosen, name), getattr(three(), name)[rows])


def test_what_was_never_there_is_not_there_after_a_choice() -> None:
    chosen = replace(three(), boxes_xyxy_px=None, track_ids=None).select(np.array([1]))
    assert (len(chosen), chosen.boxes_xyxy_px, chosen.track_ids) == (1, None, None)


def test_nobody_has_all_columns_and_no_row() -> None:
    nobody = Poses.empty(FOUR)
    assert len(nobody) == 0
    assert nobody.boxes_xyxy_px is not None
    columns = (nobody.keypoints_px, nobody.keypoint_scores, nobody.scores, nobody.boxes_xyxy_px)
    assert [column.shape for column in columns] == [(0, 4, 2), (0, 4), (0,), (0, 4)]
    assert nobody.track_ids is None
    assert nobody.to_dict()["poses"] == []


@pytest.mark.parametrize(
    ("column", "shape"),
    [
        ("keypoints_px", (3, 4, 3)),
        ("keypoints_px", (3, 5, 2)),
        ("keypoint_scores", (3, 5)),
        ("keypoint_scores", (2, 4)),
        ("scores", (3, 1)),
        ("boxes_xyxy_px", (3, 5)),
        ("boxes_xyxy_px", (2, 4)),
        ("track_ids", (2,)),
    ],
)
def test_a_column_of_another_shape_is_refused(column: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=column):
        replace(three(), **{column: np.zeros(shape)})


def test_plain_values_say_all_and_are_json() -> None:
    told = three().to_dict()
    assert told["skeleton"] == "four"
    assert told["keypoint_names"] == ["a", "b", "c", "d"]
    assert len(told["poses"]) == 3
    assert told["poses"][1] == {
        "track_id": 8,
        "score": 0.25,
        "box_xyxy_px": [4.0, 5.0, 6.0, 7.0],
        "keypoints": [[8 + 2 * k, 9 + 2 * k, (4 + k) / 16] for k in range(4)],
    }
    assert json.loads(json.dumps(told)) == told


def test_plain_values_of_what_is_not_known_are_none() -> None:
    told = replace(three(), boxes_xyxy_px=None, track_ids=None).to_dict()["poses"][0]
    assert (told["track_id"], told["box_xyxy_px"]) == (None, None)


def test_a_keypoint_is_found_by_its_name() -> None:
    np.testing.assert_array_equal(
        three().keypoint("c"), [[4, 5, 2 / 16], [12, 13, 6 / 16], [20, 21, 10 / 16]]
    )
    with pytest.raises(KeyError, match="no keypoint 'e', but a, b, c, d"):
        three().keypoint("e")


NEAREST = {"pinky": "wrist", "index": "wrist", "thumb": "wrist", "heel": "ankle", "foot_index": "ankle"}
NEAREST |= {"eye_inner": "eye", "eye_outer": "eye", "mouth": "nose"}
NEAREST_OF_MPII = {
    "pelvis": "left_hip",
    "thorax": "left_shoulder",
    "upper_neck": "left_shoulder",
    "head_top": "nose",
}


@pytest.mark.parametrize("skeleton", [MPII16, BLAZEPOSE33])
def test_sigmas_are_those_of_the_nearest_keypoint_of_coco(skeleton: Skeleton) -> None:
    """Equal names have equal sigmas; what COCO does not label has that of what lies next to it."""
    for name, sigma in zip(skeleton.keypoint_names, skeleton.oks_sigmas, strict=True):
        side, _, part = name.partition("_")
        nearest = NEAREST.get(part, part)
        coco = NEAREST_OF_MPII.get(name) or (nearest if nearest == "nose" else f"{side}_{nearest}".strip("_"))
        assert sigma == COCO17.oks_sigmas[COCO17.keypoint_names.index(coco)], name


@pytest.mark.parametrize(
    ("edge", "fits"),
    [
        ((0, 3), True),
        ((3, 0), True),
        ((4, 0), False),
        ((0, 4), False),
        ((-1, 0), False),
        ((0, -1), False),
    ],
)
@pytest.mark.parametrize("field", ["edges", "flip_pairs"])
def test_an_edge_joins_two_keypoints_that_are_there(field: str, edge: tuple[int, int], fits: bool) -> None:
    if fits:
        assert getattr(replace(FOUR, **{field: (edge,)}), field) == (edge,)
    else:
        with pytest.raises(ConfigError, match="indices run from 0 to 3"):
            replace(FOUR, **{field: (edge,)})


@pytest.mark.parametrize("sigma", [0.0, -0.1, np.nan, np.inf])
def test_a_sigma_is_a_number_above_zero(sigma: float) -> None:
    with pytest.raises(ConfigError, match="oks_sigmas above 0"):
        replace(FOUR, oks_sigmas=(0.1, 0.2, 0.3, sigma))


@pytest.mark.parametrize("image_wh", [(640, 480), (480, 640), (100, 100), (1000, 30)])
@pytest.mark.parametrize("input_wh", [(192, 256), (256, 192), (224, 224)])
@pytest.mark.parametrize("centred", [True, False])
def test_a_letterbox_holds_the_whole_picture_as_large_as_it_can_be(
    image_wh: tuple[int, int], input_wh: tuple[int, int], centred: bool
) -> None:
    transform = letterbox_transform(image_wh, input_wh, centred=centred)
    (left, top), (right, bottom) = transform.to_input([[0, 0], list(image_wh)])
    assert (right - left) / image_wh[0] == pytest.approx((bottom - top) / image_wh[1])
    free = [input_wh[0] - (right - left), input_wh[1] - (bottom - top)]
    assert min(free) == pytest.approx(0.0)
    assert (left, top) == pytest.approx((free[0] / 2, free[1] / 2) if centred else (0, 0))
    np.testing.assert_allclose(
        transform.to_image([[left, top], [right, bottom]]), [[0, 0], image_wh], atol=1e-9
    )


def test_a_stretched_picture_fills_the_input() -> None:
    transform = stretch_transform((640, 480), (192, 256))
    np.testing.assert_allclose(transform.to_input([[0, 0], [640, 480]]), [[0, 0], [192, 256]])
    np.testing.assert_allclose(transform.boxes_to_image([[0, 0, 96, 64]]), [[0, 0, 320, 120]])


class PlayedSupervision(ModuleType):
    """Takes what the real package takes; it is no dependency of the tests."""

    KeyPoints = staticmethod(lambda **given: given)


@pytest.mark.parametrize("tracked", [True, False])
def test_supervision_gets_every_column_under_its_own_name(
    monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", PlayedSupervision("supervision"))
    poses = three() if tracked else replace(three(), track_ids=None)
    given = poses.to_supervision()
    assert given["xy"] is poses.keypoints_px
    assert given["keypoint_confidence"] is poses.keypoint_scores
    assert given["detection_confidence"] is poses.scores
    assert given["class_id"].tolist() == [0, 0, 0]
    assert set(given["data"]) == ({"tracker_id"} if tracked else set())


def test_without_supervision_its_installation_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match="supervision is not installed"):
        three().to_supervision()
