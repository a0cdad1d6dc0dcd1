"""Figures at their edges, against pycocotools and against sums made here one by one."""

from __future__ import annotations

import contextlib
import io
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from edgepose.errors import ConfigError, ModelError
from edgepose.host.data.coco import CocoDataset, LabelledImage
from edgepose.host.evaluate.agreement import best_oks
from edgepose.host.evaluate.average_precision import (
    OKS_THRESHOLDS,
    ImageTruth,
    assign_persons,
    image_oks,
    match_image,
)
from edgepose.host.evaluate.detector_evaluation import box_figures, false_persons
from edgepose.host.evaluate.figures import (
    Figure,
    evaluation_weights,
    interval_95,
    keypoint_figures,
    overall_figures,
    resample_weights,
)
from edgepose.host.evaluate.predictions import EVALUATION_SCORE_THRESHOLD, predict
from edgepose.host.evaluate.scoring import keypoint_sums, keypoints_in_common, score
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17, Skeleton
from tests.support.labelled_sets import (
    coco_detections,
    coco_ground_truth,
    dataset_of,
    person,
    poses_of,
    predictions_of,
    random_set,
)

ONCE = np.ones((1, 1), np.int64)


def by_pycocotools(seed: int) -> tuple[list[float], dict[str, float]]:
    """AP, AP50, AP75 and AR of a random set: pycocotools' and ours."""
    dataset, predictions = random_set(seed, 25)
    coco = COCO()
    coco.dataset = coco_ground_truth(dataset)
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(coco_detections(dataset, predictions)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    figures = overall_figures(score(predictions, dataset), np.ones((1, 25), np.int64))
    # cocoeval.py, _summarizeKps: AP, AP50, AP75, AP medium, AP large, AR.
    theirs = [float(evaluation.stats[index]) for index in (0, 1, 2, 5)]
    return theirs, {name: float(figure.values[0]) for name, figure in figures.items()}


@pytest.mark.parametrize("seed", range(4))
def test_every_overall_figure_is_that_of_pycocotools(seed: int) -> None:
    theirs, ours = by_pycocotools(seed)
    assert len(set(theirs)) == 4
    assert [ours[name] for name in ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar")] == pytest.approx(theirs)


def truth_of(keypoints: NDArray[np.float64], labelled: NDArray[np.bool_], **more: Any) -> ImageTruth:
    count = len(keypoints)
    known: dict[str, Any] = {
        "boxes_xyxy_px": np.tile([10.0, 20.0, 50.0, 100.0], (count, 1)),
        "area_px2": np.full(count, 1500.0),
        "is_crowd": np.zeros(count, bool),
    }
    return ImageTruth(keypoints_px=keypoints, labelled=labelled, **(known | more))


@pytest.mark.parametrize("seed", range(5))
def test_the_similarity_with_a_nameless_person_is_pycocotools_own(seed: int) -> None:
    random = np.random.default_rng(seed)
    detected = random.uniform(-60, 200, (4, 17, 2))
    box = np.array([10.0, 20.0, 50.0, 100.0])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(None, None, "keypoints")
    evaluation._dts[1, 1] = [
        {"keypoints": np.c_[points, np.ones(17)].ravel().tolist(), "score": -rank}
        for rank, points in enumerate(detected)
    ]
    evaluation._gts[1, 1] = [{"keypoints": [0] * 51, "bbox": [10, 20, 40, 80], "area": 1500.0}]
    truth = truth_of(np.zeros((1, 17, 2)), np.zeros((1, 17), bool), boxes_xyxy_px=box[None])
    np.testing.assert_allclose(image_oks(detected, truth, COCO17.sigmas), evaluation.computeOks(1, 1))


def everybody(count: int) -> ImageTruth:
    return truth_of(np.zeros((count, 1, 2)), np.ones((count, 1), bool))


@pytest.mark.parametrize("index", range(10))
def test_a_similarity_that_is_just_the_threshold_is_enough(index: int) -> None:
    threshold = OKS_THRESHOLDS[index]
    matches = match_image(np.array([[threshold]]), np.array([1.0]), everybody(1))
    assert matches.matched[:, 0].tolist() == [other <= threshold for other in OKS_THRESHOLDS]
    below = match_image(np.array([[np.nextafter(threshold, 0)]]), np.array([1.0]), everybody(1))
    assert below.matched[:, 0].tolist() == [other < threshold for other in OKS_THRESHOLDS]


def test_a_detection_takes_the_last_of_equal_persons_and_each_person_once() -> None:
    # cocoeval.py goes on to a person that is at least as alike.
    oks = np.array([[0.9, 0.9], [0.9, 0.6]])
    matches = match_image(oks, np.array([0.8, 0.9]), everybody(2))
    # The second detection is sure first, and takes the only one that fits it above 0.6.
    assert matches.scores.tolist() == [0.9, 0.8]
    assert matches.matched[:, 0].tolist() == [t <= 0.9 for t in OKS_THRESHOLDS]
    assert matches.matched[:, 1].tolist() == [t <= 0.9 for t in OKS_THRESHOLDS]
    assert not matches.ignored.any()
    assert matches.persons == 2


def test_a_group_is_taken_as_often_as_needed_and_counts_neither_way() -> None:
    truth = truth_of(np.zeros((1, 1, 2)), np.ones((1, 1), bool), is_crowd=np.array([True]))
    matches = match_image(np.full((3, 1), 0.99), np.arange(3.0), truth)
    assert matches.persons == 0
    assert matches.matched.all()
    assert matches.ignored.all()


def test_a_nameless_person_is_taken_once() -> None:
    truth = truth_of(np.zeros((1, 1, 2)), np.zeros((1, 1), bool))
    matches = match_image(np.full((2, 1), 0.99), np.array([0.9, 0.8]), truth)
    assert matches.ignored[:, 0].all()
    assert not matches.matched[:, 1].any()
    assert not matches.ignored[:, 1].any()


def test_only_the_best_twenty_detections_count() -> None:
    scores = np.arange(25.0)
    matches = match_image(np.zeros((25, 1)), scores, everybody(1))
    assert matches.scores.tolist() == sorted(scores, reverse=True)[:20]


def test_who_is_alike_most_is_assigned_first_and_each_once() -> None:
    oks = np.array([[0.5, 0.9, 0.2], [0.8, 0.95, 0.0]])
    assert assign_persons(oks, everybody(3)).tolist() == [0, 1, -1]
    ignored = truth_of(np.zeros((3, 1, 2)), np.array([[True], [False], [True]]))
    assert assign_persons(oks, ignored).tolist() == [1, -1, 0]


def by_hand(keypoints: NDArray[np.float64], assigned: list[int], truth: ImageTruth) -> list[list[float]]:
    """Labelled, correct and summed OKS terms, keypoint by keypoint; the torso is keypoints 0 and 1."""
    sums = [[0.0, 0.0, 0.0] for _ in range(3)]
    for someone, detection in enumerate(assigned):
        if truth.is_crowd[someone] or not truth.labelled[someone].any():
            continue
        box = truth.boxes_xyxy_px[someone]
        reference = max(box[2] - box[0], box[3] - box[1])
        torso = math.dist(truth.keypoints_px[someone, 0], truth.keypoints_px[someone, 1])
        if truth.labelled[someone, 0] and truth.labelled[someone, 1] and torso > 0:
            reference = torso
        for k in range(3):
            if truth.labelled[someone, k]:
                sums[0][k] += 1
                if detection >= 0:
                    distance = math.dist(keypoints[detection, k], truth.keypoints_px[someone, k])
                    sums[1][k] += distance <= 0.2 * reference
                    spread = 2 * truth.area_px2[someone] * (2 * SIGMAS[k]) ** 2
                    sums[2][k] += math.exp(-(distance**2) / spread)
    return sums


SIGMAS = np.array([0.1, 0.05, 0.2])
THREE = ("left_shoulder", "right_hip", "nose")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("width", [20.0, 150.0], ids=["a tall box", "a wide box"])
def test_the_sums_of_keypoints_are_those_of_counting_one_by_one(seed: int, width: float) -> None:
    random = np.random.default_rng(seed)
    truth = truth_of(
        random.uniform(0, 100, (5, 3, 2)),
        random.random((5, 3)) < 0.6,
        boxes_xyxy_px=np.array([[5.0, 7.0, 5 + width, 67.0]] * 5),
        area_px2=random.uniform(500, 4000, 5),
        is_crowd=random.random(5) < 0.2,
    )
    truth.keypoints_px[0, 1] = truth.keypoints_px[0, 0]
    assigned = [2, -1, 0, 1, 3]
    detected = truth.keypoints_px[[2, 3, 0, 4]] + random.normal(0, 8, (4, 3, 2))
    found = keypoint_sums(detected, np.array(assigned), truth, THREE, SIGMAS)
    np.testing.assert_allclose(found, by_hand(detected, assigned, truth))


def test_a_keypoint_that_one_person_does_not_have_is_the_mean_of_the_others() -> None:
    rows = np.column_stack([np.linspace(100, 160, 17), np.linspace(100, 400, 17), np.full(17, 2.0)])
    noseless = rows + np.array([300.0, 0, 0])
    noseless[0, 2] = 0
    dataset = dataset_of([[person(1, 1, rows), person(2, 1, noseless)]])
    predicted = predictions_of([poses_of([rows[:, :2] + [5.0, 0], noseless[:, :2]], [0.9, 0.8])])
    nose = keypoint_figures(score(predicted, dataset), ONCE)["nose"]["oks"]
    area = 0.53 * 60 * 300
    assert nose.sample_count == 1
    assert nose.values[0] == pytest.approx(math.exp(-25 / (2 * area * (2 * COCO17.oks_sigmas[0]) ** 2)))


def test_a_data_set_of_other_names_is_compared_on_the_shared_ones_with_the_models_sigmas() -> None:
    model = Skeleton("m", ("tail", "nose", "wing"), (), (), (0.3, 0.1, 0.2))
    shared = keypoints_in_common(model, ("beak", "wing", "nose"))
    assert shared.names == ("wing", "nose")
    assert shared.model_columns.tolist() == [2, 1]
    assert shared.data_columns.tolist() == [1, 2]
    assert shared.sigmas.tolist() == [0.2, 0.1]
    assert not shared.complete
    assert keypoints_in_common(model, ("nose", "tail")).complete
    with pytest.raises(ConfigError, match="no keypoint name in common"):
        keypoints_in_common(model, ("beak",))


def test_a_known_data_set_gives_its_own_sigmas() -> None:
    model = Skeleton("m", ("right_ankle", "nose"), (), (), (0.3, 0.1))
    shared = keypoints_in_common(model, COCO17.keypoint_names)
    assert shared.names == ("nose", "right_ankle")
    assert shared.sigmas.tolist() == [0.026, 0.089]
    assert (shared.model_columns.tolist(), shared.data_columns.tolist()) == ([1, 0], [0, 16])


def test_a_figure_is_told_with_the_middle_95_of_its_resamples() -> None:
    values = np.concatenate([[0.5], np.linspace(0, 1, 1001)])
    metric = Figure(values, 7).metric()
    assert (metric.value, metric.sample_count) == (0.5, 7)
    assert metric.interval_95 == pytest.approx((0.025, 0.975))
    delta = Figure(values, 7).minus(Figure(values / 2, 7))
    assert delta.value == 0.25
    assert delta.interval_95 == pytest.approx((0.0125, 0.4875))
    nothing = Figure(np.array([np.nan, 1.0]), 0).metric()
    assert (nothing.value, nothing.interval_95) == (None, None)
    assert interval_95(np.array([])) is None


def test_the_first_weights_are_the_set_itself() -> None:
    weights = evaluation_weights(6, 10, 3)
    assert weights.shape == (11, 6)
    assert weights[0].tolist() == [1] * 6
    np.testing.assert_array_equal(weights[1:], resample_weights(6, 10, 3))


def test_weak_detections_are_kept_as_in_evaluations_of_coco() -> None:
    assert EVALUATION_SCORE_THRESHOLD == 0.001


@dataclass
class SeenPipeline:
    """Plays a model: remembers what it is asked, finds whoever is in the boxes."""

    on_crops: bool
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    value: float = 1.0

    @property
    def spec(self) -> Any:
        return SimpleNamespace(uses_person_boxes=self.on_crops, name="played", pose_skeleton=COCO17)

    def estimate(self, _picture: Any, boxes: Any = None, scores: Any = None) -> Poses:
        self.asked.append((boxes, scores))
        count = 1 if boxes is None else len(boxes)
        return poses_of([np.full((17, 2), self.value)] * count, [1.0] * count)


@dataclass
class SeenDetector:
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]

    def detect(self, _picture: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.boxes, self.scores


def pictures(folder: Path, *persons: Any) -> CocoDataset:
    """A data set of grey pictures."""
    images = []
    for number, some in enumerate(persons, start=1):
        path = folder / f"{number}.png"
        assert cv2.imwrite(str(path), np.full((60, 80, 3), 90, np.uint8))
        images.append(LabelledImage(number, path, 80, 60, tuple(some)))
    return replace(dataset_of([]), images=tuple(images))


def standing(left: float) -> NDArray[np.float64]:
    return np.column_stack([np.linspace(left, left + 10, 17), np.linspace(5, 45, 17), np.full(17, 2.0)])


def test_a_model_on_crops_sees_the_box_of_everybody_who_counts(tmp_path: Path) -> None:
    nameless = standing(30) * [1, 1, 0]
    some = [person(1, 1, nameless), person(2, 1, standing(5)), person(3, 1, standing(60), crowd=True)]
    played, done = SeenPipeline(on_crops=True), []
    found = predict(
        played,  # type: ignore[arg-type]
        pictures(tmp_path, [*some, person(4, 1, standing(20))], []),
        progress=lambda *at: done.append(at),
    )
    assert played.asked[0][0].tolist() == [[5, 5, 15, 45], [20, 5, 30, 45]]
    assert played.asked[1][0].shape == (0, 4)
    assert [None if cut is None else cut.tolist() for cut in found.cut_from] == [[1, 3], []]
    assert (found.boxes_from, len(found.poses)) == ("labels", 2)
    assert done == [(1, 2), (2, 2)]


def test_a_detectors_best_twenty_boxes_come_with_their_scores(tmp_path: Path) -> None:
    boxes = np.arange(100, dtype=np.float32).reshape(25, 4)
    scores = np.linspace(1, 0, 25, dtype=np.float32)
    played = SeenPipeline(on_crops=True)
    found = predict(played, pictures(tmp_path, []), SeenDetector(boxes, scores))  # type: ignore[arg-type]
    (asked,) = played.asked
    np.testing.assert_array_equal(asked[0], boxes[:20])
    np.testing.assert_array_equal(asked[1], scores[:20])
    assert (found.boxes_from, found.cut_from, len(found.poses[0])) == ("detector", (None,), 20)


def test_a_model_of_whole_pictures_gets_no_boxes_and_takes_no_detector(tmp_path: Path) -> None:
    played, data = SeenPipeline(on_crops=False), pictures(tmp_path, [person(1, 1, standing(5))])
    found = predict(played, data)  # type: ignore[arg-type]
    assert (played.asked, found.boxes_from, found.cut_from) == ([(None, None)], "whole_image", (None,))
    nobody = SeenDetector(np.zeros((0, 4), np.float32), np.zeros(0, np.float32))
    with pytest.raises(ConfigError, match="a detector changes nothing"):
        predict(played, data, nobody)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_keypoints_that_are_not_finite_are_refused_with_the_picture(tmp_path: Path, value: float) -> None:
    played = SeenPipeline(on_crops=False, value=value)
    with pytest.raises(ModelError, match=r"keypoints that are not finite for 1\.png"):
        predict(played, pictures(tmp_path, []))  # type: ignore[arg-type]


def boxed_pictures(folder: Path, *boxes: list[float], crowd: bool = False) -> CocoDataset:
    return pictures(
        folder,
        [
            person(n, 1, np.array([[*box[:2], 2.0], [*box[2:], 2.0]] + [[*box[:2], 2.0]] * 15), crowd=crowd)
            for n, box in enumerate(boxes)
        ],
    )


def detected(*rows: list[float]) -> SeenDetector:
    array = np.array(rows, np.float32).reshape(-1, 5)
    return SeenDetector(array[:, :4], array[:, 4])


def test_a_person_is_found_from_the_score_and_the_overlap_of_a_run_on(tmp_path: Path) -> None:
    data = boxed_pictures(tmp_path, [0, 0, 20, 20])
    # 20 x 20 against 20 x 10 overlap by exactly a half.
    for row, recall in (
        ([0, 0, 20, 10, 0.25], 1.0),
        ([0, 0, 20, 10, 0.249], 0.0),
        ([0, 0, 20, 9.9, 0.9], 0.0),
    ):
        figures = box_figures(detected(row), data)  # type: ignore[arg-type]
        assert (figures.recall, figures.persons) == (recall, 1)


def test_box_figures_of_a_perfect_a_half_and_no_answer(tmp_path: Path) -> None:
    data = boxed_pictures(tmp_path, [0, 0, 20, 20], [40, 0, 60, 30])
    both = detected([0, 0, 20, 20, 0.9], [40, 0, 60, 30, 0.8])
    assert box_figures(both, data).box_ap == pytest.approx(1.0)  # type: ignore[arg-type]
    half = box_figures(detected([0, 0, 20, 20, 0.9]), data)  # type: ignore[arg-type]
    # Half the recall levels of 0 to 1 in hundredths are reached: 51 of 101.
    assert (half.box_ap, half.box_ap50, half.recall) == pytest.approx((51 / 101, 51 / 101, 0.5))
    nothing = box_figures(detected(), data)  # type: ignore[arg-type]
    assert (nothing.box_ap, nothing.recall, nothing.persons) == (0.0, 0.0, 2)


def test_without_anybody_to_find_there_is_no_figure(tmp_path: Path) -> None:
    figures = box_figures(detected([0, 0, 9, 9, 0.9]), boxed_pictures(tmp_path))  # type: ignore[arg-type]
    assert (figures.box_ap, figures.box_ap50, figures.recall, figures.persons) == (None, None, None, 0)


def test_detections_inside_a_group_are_no_false_persons(tmp_path: Path) -> None:
    data = boxed_pictures(tmp_path, [0, 0, 20, 20])
    group = person(9, 1, standing(40), crowd=True)
    with_group = replace(data, images=(replace(data.images[0], persons=(*data.images[0].persons, group)),))
    # Better than the right one: small, in the group's box of 40, 5 to 50, 45.
    answer = detected([41, 6, 44, 9, 0.95], [0, 0, 20, 20, 0.9])
    assert box_figures(answer, with_group).box_ap == pytest.approx(1.0)  # type: ignore[arg-type]
    assert (box_figures(answer, data).box_ap or 0) == pytest.approx(0.5)  # type: ignore[arg-type]
    assert box_figures(answer, with_group).recall == 1.0  # type: ignore[arg-type]


def test_false_persons_are_counted_a_picture_from_the_score_of_a_run_on(tmp_path: Path) -> None:
    paths = [image.path for image in pictures(tmp_path, [], []).images]
    answer = detected([0, 0, 9, 9, 0.25], [0, 0, 9, 9, 0.9], [0, 0, 9, 9, 0.24])
    assert false_persons(answer, paths) == 2.0  # type: ignore[arg-type]
    assert math.isnan(false_persons(answer, []))  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", [0, 1])
def test_two_models_do_not_agree_on_keypoints_that_are_not_finite(broken: int) -> None:
    points = [np.full((17, 2), 5.0), np.full((17, 2), 5.0)]
    points[broken][3, 1] = np.nan
    expected, shipped = (poses_of([each], [1.0]) for each in points)
    with pytest.raises(ModelError, match="not finite"):
        best_oks(expected, shipped, np.array([0.0, 0, 50, 50]), 0.2)
