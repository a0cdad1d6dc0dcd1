"""Everything that does not change between epochs, computed once and read through memory maps.

For each person: a crop somewhat larger than the student's view and the teacher's maps, both uint8. A
training step then costs two small warps a sample, never a decoded JPEG or a run of the teacher.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.distill.persons import TrainingPerson, TrainingPersons
from edgepose.host.distill.students import StudentDesign
from edgepose.host.distill.teacher import Teacher
from edgepose.pose.transform import crop_transform
from edgepose.records.files import write_whole
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.preprocess import Image
from edgepose.trust.digests import sha256_of_list

Progress = Callable[[int, int], None]

# The crop reaches past the student's own view (box x 1.25), for shifts, rotation and smaller zoom ...
CROP_BOX_SCALE = 1.25 * 1.4
# ... with somewhat more pixels than the student sees, for larger zoom.
_CROP_PIXELS = 1.2 * 1.4
_LAYOUT = "1"
_PLANES = 4


@dataclass(frozen=True, eq=False)
class SampleCache:
    """The samples of N persons.

    Attributes:
        crops: (N, H, W, 3) uint8, RGB.
        maps: (N, G, h, w, 4) uint8: the teacher's maps in groups of four, 255 is 1; G is 0 without teacher.
        crop_maps: (N, 4): scale x, y and offset x, y from image pixels to crop pixels.
        cell_maps: (N, 4): the same to cells of the teacher's maps.
        boxes_px: (N, 4) in image pixels.
        labels_px: (N, K, 2) in image pixels.
        labelled: (N, K).
        teacher_px: (N, K, 2) in image pixels.
        teacher_scores: (N, K).
        sources: (N,), index of the folder.
    """

    crops: NDArray[np.uint8]
    maps: NDArray[np.uint8]
    crop_maps: NDArray[np.float64]
    cell_maps: NDArray[np.float64]
    boxes_px: NDArray[np.float64]
    labels_px: NDArray[np.float64]
    labelled: NDArray[np.bool_]
    teacher_px: NDArray[np.float64]
    teacher_scores: NDArray[np.float32]
    sources: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.crops)

    @property
    def has_teacher(self) -> bool:
        """Whether there are teacher's maps."""
        return self.maps.shape[1] > 0


def open_cache(
    folder: Path,
    data: TrainingPersons,
    design: StudentDesign,
    teacher: Teacher | None,
    progress: Progress | None = None,
) -> SampleCache:
    """Opens the cache of these data, this student size and this teacher; fills it on first use.

    Raises:
        ConfigError: An image is not readable, or the disk is full.
        ModelError: The teacher failed.
    """
    key = sha256_of_list(
        [_LAYOUT, data.digest, f"{design.input_wh}", "labels" if teacher is None else teacher.sha256]
    )
    home = folder / key[:16]
    if not (home / "complete").is_file():
        try:
            _fill(home, data, design, teacher, progress)
        except OSError as problem:
            shutil.rmtree(home, ignore_errors=True)
            raise ConfigError(
                f"Cannot write the sample cache {home}: {problem.strerror}.",
                "It takes about 0.3 MB a person; give --cache another folder.",
            ) from problem
    return _opened(home)


def _opened(home: Path) -> SampleCache:
    with np.load(home / "persons.npz", allow_pickle=False) as stored:
        persons = {name: stored[name] for name in stored.files}
    return SampleCache(
        crops=np.load(home / "crops.npy", mmap_mode="r"),
        maps=np.load(home / "maps.npy", mmap_mode="r"),
        **persons,
    )


def _fill(
    home: Path,
    data: TrainingPersons,
    design: StudentDesign,
    teacher: Teacher | None,
    progress: Progress | None,
) -> None:
    # Crops of people: no one else looks into it.
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    count, keypoints = len(data.persons), len(data.persons[0].labelled)
    crop_wh = _crop_wh(design)
    map_wh, groups = ((0, 0), 0) if teacher is None else (teacher.map_wh, -(-keypoints // _PLANES))
    crops = reserved(home / "crops.npy", (count, crop_wh[1], crop_wh[0], 3))
    maps = _maps_file(home / "maps.npy", (count, groups, map_wh[1], map_wh[0], _PLANES))
    arrays = _empty_arrays(data, keypoints)
    done = 0
    for path, persons in groupby(enumerate(data.persons), key=lambda entry: entry[1].path):
        image = read_image_rgb(path)
        for index, person in persons:
            transform = crop_transform(person.box_xyxy_px, crop_wh, CROP_BOX_SCALE)
            crops[index] = cv2.warpAffine(image, transform.sampling_matrix, crop_wh, flags=cv2.INTER_LINEAR)
            arrays["crop_maps"][index] = (*transform.scale_xy, *transform.offset_xy)
            if teacher is not None:
                _ask(teacher, image, person, index, (arrays, maps))
            done += 1
        if progress is not None:
            progress(done, count)
    crops.flush()
    if isinstance(maps, np.memmap):
        maps.flush()
    with (home / "persons.npz").open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]
    write_whole(home / "complete", [msgspec.json.encode({"persons": count, "digest": data.digest})])


def _maps_file(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    if 0 in shape:
        # An empty file cannot be mapped; an empty array can be stored.
        empty = np.zeros((shape[0], 0, 1, 1, _PLANES), np.uint8)
        np.save(path, empty)
        return empty
    return reserved(path, shape)


def reserved(path: Path, shape: tuple[int, ...]) -> np.memmap[Any, np.dtype[np.uint8]]:
    """A mapped file with its space taken: on a full disk a write into a hole would kill the process."""
    mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return mapped


def _empty_arrays(data: TrainingPersons, keypoints: int) -> dict[str, NDArray[np.generic]]:
    persons, count = data.persons, len(data.persons)
    return {
        "crop_maps": np.zeros((count, 4)),
        "cell_maps": np.tile([1.0, 1.0, 0.0, 0.0], (count, 1)),
        "boxes_px": np.stack([person.box_xyxy_px for person in persons]),
        "labels_px": np.stack([person.keypoints_px for person in persons]),
        "labelled": np.stack([person.labelled for person in persons]),
        "teacher_px": np.zeros((count, keypoints, 2)),
        "teacher_scores": np.zeros((count, keypoints), np.float32),
        "sources": np.array([person.source for person in persons], np.int64),
    }


def _ask(
    teacher: Teacher,
    image: Image,
    person: TrainingPerson,
    index: int,
    into: tuple[dict[str, NDArray[np.generic]], NDArray[np.uint8]],
) -> None:
    arrays, maps = into
    view = teacher.look(image, person.box_xyxy_px)
    stored = np.clip(np.rint(view.maps * 255), 0, 255).astype(np.uint8)
    padding = maps.shape[1] * _PLANES - len(stored)
    stored = np.pad(stored, ((0, padding), (0, 0), (0, 0)))
    maps[index] = stored.reshape(-1, _PLANES, *stored.shape[1:]).transpose(0, 2, 3, 1)
    arrays["cell_maps"][index] = (*view.to_cells.scale_xy, *view.to_cells.offset_xy)
    arrays["teacher_px"][index] = view.keypoints_px
    arrays["teacher_scores"][index] = view.scores


def _crop_wh(design: StudentDesign) -> tuple[int, int]:
    width, height = design.input_wh
    return round(width * _CROP_PIXELS), round(height * _CROP_PIXELS)
