"""Small data folders with pictures that differ, with and without labels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from edgepose.pose.skeletons import COCO17

SIZE_WH = (80, 60)


def write_pictures(folder: Path, count: int, first: int = 0) -> Path:
    """Pictures of noise, ``000.png`` and so on; the same number gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        generator = np.random.default_rng(number)
        small = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        picture = cv2.resize(small, SIZE_WH, interpolation=cv2.INTER_CUBIC)
        assert cv2.imwrite(str(folder / f"{number:03d}.png"), picture)
    return folder


def write_labels(path: Path, numbers: list[int], persons_each: int = 1) -> Path:
    """COCO labels for the pictures with these numbers, whether or not they exist."""
    images = [
        {"id": n + 1, "file_name": f"{n:03d}.png", "width": SIZE_WH[0], "height": SIZE_WH[1]} for n in numbers
    ]
    annotations = []
    for number in numbers:
        for person in range(persons_each):
            x, y = 5.0 + 10 * person, 8.0
            keypoints = [v for k in range(17) for v in (x + k, y + 2 * k, 2)]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number + 1,
                    "category_id": 1,
                    "bbox": [x, y, 20.0, 40.0],
                    "area": 400.0,
                    "iscrowd": 0,
                    "keypoints": keypoints,
                    "num_keypoints": 17,
                }
            )
    category = {"id": 1, "name": "person", "keypoints": list(COCO17.keypoint_names)}
    path.write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]}), encoding="utf-8"
    )
    return path


def labelled_folder(folder: Path, count: int, persons_each: int = 1) -> Path:
    """``images/`` and ``person_keypoints.json``, every picture labelled."""
    write_pictures(folder / "images", count)
    write_labels(folder / "person_keypoints.json", list(range(count)), persons_each)
    return folder
