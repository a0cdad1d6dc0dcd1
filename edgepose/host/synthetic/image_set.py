"""Writes a folder of generated persons, images or a clip: exact COCO labels, manifest, report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.synthetic.clip import ClipRequest, Progress, check_clip, silent, write_clip
from edgepose.host.synthetic.composition import check_scene, draw_scene
from edgepose.host.synthetic.stage import Scene
from edgepose.host.synthetic.style import StyleName
from edgepose.pose.skeletons import COCO17
from edgepose.records.files import write_whole
from edgepose.records.synthetic_clip import SynthesisReport
from edgepose.trust.digests import sha256_of_bytes

Suffix = Literal[".jpg", ".png"]

_LICENCE, _CONSENT = "Apache-2.0", "not a person: drawn by edgepose"
DEFAULT_SIZE_WH = (320, 240)
_JPEG_QUALITY = 90


@dataclass(frozen=True)
class PictureSetRequest:
    """What to draw.

    Attributes:
        seed: First seed; image i is drawn from ``seed + i``.
        persons: Fewest and most persons in an image.
        progress: Called with (images done, images in all).
    """

    count: int
    seed: int = 0
    size_wh: tuple[int, int] = DEFAULT_SIZE_WH
    persons: tuple[int, int] = (1, 1)
    style: StyleName = "varied"
    progress: Progress = silent

    @property
    def command(self) -> str:
        """What makes the same set again."""
        fewest, most = self.persons
        persons = str(fewest) if fewest == most else f"{fewest}-{most}"
        size = "{}x{}".format(*self.size_wh)
        return (
            f"edgepose data synth -o DIR --count {self.count} --seed {self.seed} --persons {persons} "
            f"--size {size} --style {self.style}"
        )


@dataclass(frozen=True)
class WrittenSet:
    """What was written: counts of images, persons, and keypoints by visibility 0, 1, 2."""

    pictures: int
    persons: int
    keypoints: tuple[int, int, int]


def write_picture_set(folder: Path, request: PictureSetRequest) -> WrittenSet:
    """Writes ``images/*.jpg``, ``person_keypoints.json`` and ``manifest.json``.

    The same request gives the same images and labels.

    Raises:
        ConfigError: The request cannot be drawn, or the folder holds images already or cannot be written.
    """
    if request.count < 1:
        raise ConfigError(f"A set has at least one picture, found count {request.count}.")
    fewest, most = request.persons
    if not 0 <= fewest <= most:
        raise ConfigError(f"Persons are a range of 0 or more, found {fewest} to {most}.")
    check_scene(request.size_wh, fewest)
    return write_scenes(
        folder, _scenes(request), stem="figure", suffix=".jpg", source=request.command, first=request.seed
    )


def _scenes(request: PictureSetRequest) -> Iterable[Scene]:
    fewest, most = request.persons
    for index in range(request.count):
        seed = request.seed + index
        # Another stream than the scene's own: with one more person, the others should not be the same.
        persons = int(np.random.default_rng((seed, 1)).integers(fewest, most + 1))
        yield draw_scene(seed, request.size_wh, persons, request.style)
        request.progress(index + 1, request.count)


def write_scenes(
    folder: Path, scenes: Iterable[Scene], *, stem: str, suffix: Suffix, source: str, first: int = 0
) -> WrittenSet:
    """Writes generated scenes as a data folder.

    Args:
        folder: A new folder, or one without images.
        scenes: One image each.
        stem: Image i is called ``<stem>_<first + i><suffix>``.
        suffix: JPEG of quality 90, or lossless PNG.
        source: How the images were made, for the labels and the manifest.
        first: Number of the first image.

    Raises:
        ConfigError: The folder holds images already, or cannot be written.
    """
    images = _new_images_folder(folder)
    labels = _empty_labels(f"Persons who do not exist. Made with: {source}")
    files: list[dict[str, Any]] = []
    for number, scene in enumerate(scenes, start=first):
        name = f"{stem}_{number:05d}{suffix}"
        data = _encoded(scene, suffix)
        write_whole(images / name, [data])
        _add_labels(labels, scene, name)
        entry = {"file": f"images/{name}", "sha256": sha256_of_bytes(data)}
        files.append({**entry, "licence": _LICENCE, "source": source, "consent": _CONSENT})
    for file, content in (
        ("person_keypoints.json", labels),
        ("manifest.json", {"schema": "edgepose.dataset/1", "files": files}),
    ):
        write_whole(folder / file, [(json.dumps(content, indent=1) + "\n").encode()])
    persons = labels["annotations"]
    levels = np.bincount([v for person in persons for v in person["keypoints"][2::3]], minlength=3)
    return WrittenSet(len(files), len(persons), (int(levels[0]), int(levels[1]), int(levels[2])))


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


def _empty_labels(description: str) -> dict[str, Any]:
    person = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(COCO17.keypoint_names),
        "skeleton": [[first + 1, second + 1] for first, second in COCO17.edges],
    }
    return {
        "info": {"description": description},
        "licenses": [{"id": 1, "name": _LICENCE}],
        "images": [],
        "annotations": [],
        "categories": [person],
    }


def _add_labels(labels: dict[str, Any], scene: Scene, name: str) -> None:
    image_id = len(labels["images"]) + 1
    width, height = scene.size_wh
    image = {"id": image_id, "file_name": name, "width": width, "height": height, "license": 1}
    labels["images"].append(image)
    # A person of whom nothing is to be seen is not in the image.
    for person in np.flatnonzero(scene.areas_px2 > 0).tolist():
        number = len(labels["annotations"]) + 1
        labels["annotations"].append({"id": number, "image_id": image_id, **_coco_person(scene, person)})


def _coco_person(scene: Scene, person: int) -> dict[str, Any]:
    """Box, area and keypoints of a person as COCO writes them; what is outside the image is 0, 0, 0."""
    visibility = scene.visibility[person]
    rows = np.column_stack([scene.keypoints_px[person], visibility])
    rows[visibility == 0] = 0
    x0, y0, x1, y1 = scene.boxes_xyxy_px[person].tolist()
    return {
        "category_id": 1,
        "iscrowd": 0,
        "bbox": [round(x0, 2), round(y0, 2), round(x1 - x0, 2), round(y1 - y0, 2)],
        "area": round(float(scene.areas_px2[person]), 2),
        "keypoints": [value for x, y, v in rows.tolist() for value in (round(x, 2), round(y, 2), int(v))],
        "num_keypoints": int(np.count_nonzero(visibility)),
    }


def synthesize(
    folder: Path, images: PictureSetRequest | None = None, clip: ClipRequest | None = None
) -> SynthesisReport:
    """Draws persons who do not exist.

    Raises:
        ConfigError: Nothing was asked for, it cannot be drawn, or the folder is not free to write.
        MissingDependencyError: This OpenCV cannot write MPEG-4 video.
    """
    if images is None and clip is None:
        raise ConfigError("Neither pictures nor a clip was asked for.", "Give --count, --video or both.")
    start_ns = time.monotonic_ns()
    if clip is not None:
        # Before the images are drawn, not after.
        check_clip(clip)
    written = WrittenSet(0, 0, (0, 0, 0)) if images is None else write_picture_set(folder, images)
    frames = 0 if clip is None else len(write_clip(folder, clip).frames)
    outside, hidden, seen = written.keypoints
    return SynthesisReport(
        folder=str(folder),
        commands=tuple(request.command for request in (images, clip) if request is not None),
        seconds=round((time.monotonic_ns() - start_ns) / 1e9, 3),
        pictures=written.pictures,
        persons=written.persons,
        keypoints_outside=outside,
        keypoints_hidden=hidden,
        keypoints_seen=seen,
        frames=frames,
    )
