"""The reader of labelled pictures refuses what is wrong and counts what is absent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.data.coco import read_coco

Labels = dict[str, Any]


def two_pictures() -> Labels:
    """Two pictures, one person each, two keypoints."""

    def person(number: int) -> dict[str, Any]:
        return {
            "id": number,
            "image_id": number,
            "category_id": 1,
            "bbox": [10.0, 10.0, 20.0, 30.0],
            "area": 318.0,
            "iscrowd": 0,
            "keypoints": [12.0, 14.5, 2, 0, 0, 0],
            "num_keypoints": 1,
        }

    return {
        "images": [{"id": i, "file_name": f"{i}.png", "width": 64, "height": 48} for i in (1, 2)],
        "annotations": [person(1), person(2)],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "tail"]}],
    }


def write(folder: Path, labels: Labels | str) -> tuple[Path, Path]:
    images = folder / "images"
    images.mkdir(exist_ok=True)
    for number in (1, 2):
        cv2.imwrite(str(images / f"{number}.png"), np.full((48, 64, 3), number, np.uint8))
    annotations = folder / "person_keypoints.json"
    annotations.write_text(labels if isinstance(labels, str) else json.dumps(labels))
    return annotations, images


def test_a_good_file_is_read_with_boxes_turned_to_corners(tmp_path: Path) -> None:
    dataset = read_coco(*write(tmp_path, two_pictures()))
    assert [image.id for image in dataset.images] == [1, 2]
    assert dataset.keypoint_names == ("nose", "tail")
    person = dataset.images[0].persons[0]
    assert person.box_xyxy_px.tolist() == [10, 10, 30, 40]
    assert person.keypoints_px[0].tolist() == [12.0, 14.5]
    assert person.visibility.tolist() == [2, 0]
    assert (dataset.scored_persons, dataset.labels_without_image, dataset.images_without_label) == (2, 0, 0)


def test_labels_without_image_and_images_without_label_are_counted(tmp_path: Path) -> None:
    annotations, images = write(tmp_path, two_pictures())
    (images / "2.png").rename(images / "unknown.png")
    dataset = read_coco(annotations, images)
    assert (len(dataset.images), dataset.labels_without_image, dataset.images_without_label) == (1, 1, 1)


def test_an_annotation_of_an_unlisted_image_is_counted(tmp_path: Path) -> None:
    labels = two_pictures()
    labels["annotations"][1]["image_id"] = 77
    dataset = read_coco(*write(tmp_path, labels))
    assert dataset.labels_without_image == 1
    assert dataset.images[1].persons == ()


def test_a_person_without_keypoints_and_a_crowd_are_read_but_not_scored(tmp_path: Path) -> None:
    labels = two_pictures()
    labels["annotations"][1].update(iscrowd=1)
    labels["annotations"].append(
        labels["annotations"][0] | {"id": 3, "keypoints": [0] * 6, "num_keypoints": 0}
    )
    dataset = read_coco(*write(tmp_path, labels))
    assert dataset.scored_persons == 1
    assert sum(len(image.persons) for image in dataset.images) == 3


def test_the_digest_follows_pictures_and_labels(tmp_path: Path) -> None:
    annotations, images = write(tmp_path, two_pictures())
    first = read_coco(annotations, images).digest
    assert read_coco(annotations, images).digest == first
    cv2.imwrite(str(images / "1.png"), np.full((48, 64, 3), 99, np.uint8))
    second = read_coco(annotations, images).digest
    annotations.write_text(annotations.read_text() + " ")
    assert len({first, second, read_coco(annotations, images).digest}) == 3


def edit(path: str, value: Any) -> Callable[[Labels], None]:
    """Sets the field at ``path``; ``...`` removes it."""

    def change(labels: Labels) -> None:
        *parents, last = path.split(".")
        target: Any = labels
        for name in parents:
            target = target[int(name)] if name.isdigit() else target[name]
        if value is ...:
            del target[last]
        else:
            target[last] = value

    return change


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (edit("images", ...), "images"),
        (edit("annotations", ...), "annotations"),
        (edit("categories", ...), "categories"),
        (edit("images.0.file_name", ...), "file_name"),
        (edit("images.0.width", "wide"), "width"),
        (edit("images.0.width", 0), "0 x 48"),
        (edit("images.0.file_name", "../1.png"), "must stay inside"),
        (edit("images.0.file_name", "/etc/passwd"), "must stay inside"),
        (edit("images.1.id", 1), "images: id"),
        (edit("images.1.file_name", "1.png"), "images: file_name"),
        (edit("annotations.1.id", 1), "annotations: id"),
        (edit("annotations.1.category_id", ...), "category_id"),
        (edit("annotations.1.bbox", ...), "annotation 2 has no bbox"),
        (edit("annotations.1.area", ...), "annotation 2 has no area"),
        (edit("annotations.1.iscrowd", ...), "annotation 2 has no iscrowd"),
        (edit("annotations.1.keypoints", ...), "annotation 2 has no keypoints"),
        (edit("annotations.1.iscrowd", 2), "iscrowd"),
        (edit("annotations.1.keypoints", [1, 2, 2]), "annotation 2: keypoints needs 6 numbers, found 3"),
        (edit("annotations.1.keypoints", [1, 2, 3, 0, 0, 0]), "annotation 2: the visibility"),
        (edit("annotations.1.num_keypoints", 2), "num_keypoints says 2"),
        (edit("annotations.1.bbox", [1, 2, 3]), "bbox needs 4 numbers"),
        (edit("annotations.1.bbox", [1, 2, -3, 4]), "above 0"),
        (edit("annotations.1.area", 0), "above 0"),
        (edit("annotations.1.bbox", [1, 2, "x", 4]), "bbox"),
        (edit("categories.0.name", "cat"), "'person', found categories: cat"),
        (edit("categories.0.keypoints", ...), "unique keypoint names"),
        (edit("categories.0.keypoints", ["nose", "nose"]), "unique keypoint names"),
        (edit("categories", []), "found categories: none"),
    ],
)
def test_wrong_labels_are_refused_with_the_place_named(
    tmp_path: Path, change: Callable[[Labels], None], named: str
) -> None:
    labels = two_pictures()
    change(labels)
    with pytest.raises(ConfigError) as refused:
        read_coco(*write(tmp_path, labels))
    assert named in str(refused.value)
    assert "person_keypoints.json" in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"images": NaN}', "\x00\x01", '{"info": ' + "[" * 100_000]
)
def test_a_file_that_is_no_coco_json_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"person_keypoints\.json"):
        read_coco(*write(tmp_path, text))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, number: str) -> None:
    text = json.dumps(two_pictures()).replace("14.5", number)
    assert number in text
    with pytest.raises(ConfigError):
        read_coco(*write(tmp_path, text))


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    annotations, images = write(tmp_path, two_pictures())
    annotations.write_bytes(b'{"images": "\xff\xfe"}')
    with pytest.raises(ConfigError):
        read_coco(annotations, images)


def test_nothing_usable_left_is_an_error_not_an_empty_set(tmp_path: Path) -> None:
    annotations, images = write(tmp_path, two_pictures())
    for image in images.iterdir():
        image.unlink()
    with pytest.raises(ConfigError, match="no labelled person in common"):
        read_coco(annotations, images)


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    annotations, images = write(tmp_path, two_pictures())
    with pytest.raises(ConfigError, match="nowhere"):
        read_coco(tmp_path / "nowhere.json", images)
    with pytest.raises(ConfigError, match="nowhere"):
        read_coco(annotations, tmp_path / "nowhere")


@pytest.mark.shared_data
def test_the_real_labels_are_read_completely(shared_data: Path) -> None:
    folder = shared_data / "coco_val"
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    assert (len(dataset.images), dataset.scored_persons) == (99, 306)
    assert (dataset.labels_without_image, dataset.images_without_label) == (0, 0)
