"""Box AP equals pycocotools' on random sets."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.host.data.coco import CocoDataset, LabelledImage, LabelledPerson
from edgepose.host.evaluate import detector_evaluation as box_accuracy


def random_set(seed: int) -> tuple[CocoDataset, dict[Path, tuple[np.ndarray, np.ndarray]]]:
    rng = np.random.default_rng(seed)
    images, answers, count = [], {}, 0
    for index in range(12):
        persons = []
        for _ in range(int(rng.integers(0, 5))):
            count += 1
            low, size = rng.uniform(0, 200, 2), rng.uniform(10, 90, 2)
            box = np.concatenate([low, low + size])
            crowd = bool(rng.random() < 0.15)
            zeros = np.zeros((17, 2)), np.zeros(17, np.int64)
            persons.append(LabelledPerson(count, index, box, *zeros, float(size.prod()), crowd))
        path = Path(f"{index}.png")
        truth = np.array([p.box_xyxy_px for p in persons]).reshape(-1, 4)
        found = np.concatenate([truth + rng.normal(0, 6, truth.shape), rng.uniform(0, 100, (2, 4))])
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        answers[path] = found.astype(np.float32), rng.permutation(len(found)).astype(np.float32) / len(found)
        images.append(LabelledImage(index, path, 300, 300, tuple(persons)))
    return _dataset(images), answers


def _dataset(images: list[LabelledImage]) -> CocoDataset:
    class Labels:
        pass

    labels: Any = Labels()
    labels.images = tuple(images)
    return labels


def oracle(dataset: CocoDataset, answers: dict[Path, tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def xywh(box: np.ndarray) -> list[float]:
        return [float(v) for v in (box[0], box[1], box[2] - box[0], box[3] - box[1])]

    coco = COCO()
    coco.dataset = {
        "images": [{"id": image.id} for image in dataset.images],
        "categories": [{"id": 1}],
        "annotations": [
            {
                "id": person.annotation_id, "image_id": image.id, "category_id": 1,
                "bbox": xywh(person.box_xyxy_px), "area": person.area_px2, "iscrowd": int(person.is_crowd),
            }
            for image in dataset.images
            for person in image.persons
        ],
    }  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
        results = coco.loadRes(
            [
                {"image_id": image.id, "category_id": 1, "bbox": xywh(box), "score": float(score)}
                for image in dataset.images
                for box, score in zip(*answers[image.path], strict=True)
            ]
        )
        evaluation = COCOeval(coco, results, "bbox")
        # Ours keeps as many as keypoints do.
        evaluation.params.maxDets = [20, 20, 20]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, 0, 0, -1]
    return float(precision.mean()), float(precision[0].mean())


@pytest.mark.parametrize("seed", range(6))
def test_box_ap_is_that_of_pycocotools(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, answers = random_set(seed)
    monkeypatch.setattr(box_accuracy, "read_image_rgb", lambda path: path)

    class Detector:
        def __init__(self, shift: float) -> None:
            self._shift = shift

        def detect(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
            return answers[path][0] + np.float32(self._shift), answers[path][1]

    figures = box_accuracy.box_figures(Detector(0.0), dataset)
    expected = oracle(dataset, answers)
    assert (figures.box_ap, figures.box_ap50) == pytest.approx(expected, abs=1e-9)
    assert figures.persons == sum(not p.is_crowd for image in dataset.images for p in image.persons)
    moved = box_accuracy.box_figures(Detector(15.0), dataset)
    assert moved.box_ap is not None
    assert figures.box_ap is not None
    assert moved.box_ap < figures.box_ap


def test_false_persons_are_counted_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(box_accuracy, "read_image_rgb", lambda path: path)

    class Detector:
        def detect(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
            scores = np.array([0.9, 0.3, 0.2] if path.name == "a" else [], np.float32)
            return np.zeros((len(scores), 4), np.float32), scores

    assert box_accuracy.false_persons(Detector(), [Path("a"), Path("b")]) == 1.0
