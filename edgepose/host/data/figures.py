"""Writes a data folder of drawn figures: pictures, exact COCO labels, manifest.

The shipped set was made with::

    python -m edgepose.host.data.figures calibration_data/figures --count 32 --seed 0
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.data.figure_scene import draw_scene
from edgepose.host.data.scene import Scene
from edgepose.pose.skeletons import COCO17
from edgepose.spec.whole_file import write_whole
from edgepose.trust.digests import sha256_of_bytes

Suffix = Literal[".jpg", ".png"]

LICENCE = "Apache-2.0"
CONSENT = "not a person: drawn by edgepose"
_JPEG_QUALITY = 90
_DEFAULT_SIZE_WH = (320, 240)
# One picture in four shows two figures, so that a set has overlaps too.
_PAIRS_EVERY = 4


def write_figure_set(
    folder: Path, count: int, seed: int, size_wh: tuple[int, int] = _DEFAULT_SIZE_WH
) -> None:
    """Writes ``images/*.jpg``, ``person_keypoints.json`` and ``manifest.json``.

    The same arguments give the same pictures and labels.

    Args:
        folder: A new or empty folder.
        count: Number of pictures.
        seed: First seed; picture i is drawn from ``seed + i``.
        size_wh: Picture size in pixels.

    Raises:
        ConfigError: The folder holds something already, or cannot be written.
    """
    command = f"python -m edgepose.host.data.figures FOLDER --count {count} --seed {seed}"
    if count < 1:
        raise ConfigError(f"A set has at least one picture, found count {count}.")
    scenes = (
        draw_scene(seed + index, size_wh, persons=2 if index % _PAIRS_EVERY == 3 else 1)
        for index in range(count)
    )
    write_scenes(folder, scenes, stem="figure", suffix=".jpg", source=command, first=seed)


def write_scenes(
    folder: Path, scenes: Iterable[Scene], *, stem: str, suffix: Suffix, source: str, first: int = 0
) -> None:
    """Writes generated scenes as a data folder.

    Args:
        folder: A new or empty folder.
        scenes: One picture each.
        stem: Picture i is called ``<stem>_<first + i><suffix>``.
        suffix: JPEG of quality 90, or lossless PNG.
        source: How the pictures were made, for the labels and the manifest.
        first: Number of the first picture.

    Raises:
        ConfigError: The folder holds something already, or cannot be written.
    """
    images = _new_images_folder(folder)
    labels = _empty_labels(f"Drawn figures, nobody's picture. Made with: {source}")
    files: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=first):
        name = f"{stem}_{number:05d}{suffix}"
        data = _encoded(scene, suffix)
        write_whole(images / name, [data])
        _add_labels(labels, scene, name)
        files.append(_manifest_entry(name, data, source))
    _write_json(folder / "person_keypoints.json", labels)
    _write_json(folder / "manifest.json", {"schema": "edgepose.dataset/1", "files": files})


def _new_images_folder(folder: Path) -> Path:
    images = folder / "images"
    try:
        images.mkdir(parents=True, exist_ok=True)
        if any(images.iterdir()):
            raise ConfigError(f"{images} is not empty.", "Choose a new folder.")
    except OSError as problem:
        raise ConfigError(f"Cannot write {folder}: {problem.strerror}.") from problem
    return images


def _encoded(scene: Scene, suffix: Suffix) -> bytes:
    bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix == ".jpg" else []
    written, data = cv2.imencode(suffix, bgr, quality)
    if not written:
        raise ConfigError(f"OpenCV cannot write {suffix} here.", "Reinstall opencv-python-headless.")
    return data.tobytes()


def _manifest_entry(name: str, data: bytes, source: str) -> dict[str, Any]:
    return {
        "file": f"images/{name}",
        "sha256": sha256_of_bytes(data),
        "licence": LICENCE,
        "source": source,
        "consent": CONSENT,
    }


def _empty_labels(description: str) -> dict[str, Any]:
    return {
        "info": {"description": description},
        "licenses": [{"id": 1, "name": LICENCE}],
        "images": [],
        "annotations": [],
        "categories": [
            {
                "id": 1,
                "name": "person",
                "supercategory": "person",
                "keypoints": list(COCO17.keypoint_names),
                "skeleton": [[first + 1, second + 1] for first, second in COCO17.edges],
            }
        ],
    }


def _add_labels(labels: dict[str, Any], scene: Scene, name: str) -> None:
    image_id = len(labels["images"]) + 1
    width, height = scene.size_wh
    labels["images"].append(
        {"id": image_id, "file_name": name, "width": width, "height": height, "license": 1}
    )
    for person in range(scene.persons):
        visibility = np.where(scene.visible[person], 2, 1)
        rows = np.column_stack([scene.keypoints_px[person], visibility])
        x0, y0, x1, y1 = (float(value) for value in scene.boxes_xyxy_px[person])
        labels["annotations"].append(
            {
                "id": len(labels["annotations"]) + 1,
                "image_id": image_id,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)],
                "area": round(float(scene.areas_px2[person]), 2),
                "keypoints": [round(float(value), 2) for value in rows.ravel()],
                "num_keypoints": len(rows),
            }
        )


def _write_json(path: Path, content: dict[str, Any]) -> None:
    write_whole(path, [(json.dumps(content, indent=1) + "\n").encode()])


def main() -> None:
    """Command line of this module."""
    parser = argparse.ArgumentParser(description="Write a data folder of drawn figures.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    write_figure_set(arguments.folder, arguments.count, arguments.seed)


if __name__ == "__main__":
    main()
