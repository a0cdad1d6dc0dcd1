"""A person as the audit sees one, and the persons with the most suspicious labels drawn side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.coco import CocoDataset, read_coco
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME
from edgepose.pose.skeletons import COCO17
from edgepose.records.data_audit import DataAuditReport, LabelError, LabelErrorKind
from edgepose.records.files import write_whole
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.preprocess import Image

Point = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AuditedPerson:
    """One person in one image.

    Attributes:
        file: Name of the image.
        annotation_id: The annotation's ``id``; None where a model found the person.
        image_wh: Its size in pixels.
        box_xyxy_px: (4,).
        area_px2: Object area.
        names: The K keypoint names.
        keypoints_px: (K, 2).
        there: bool (K,), whether the position is known.
        visible: bool (K,), whether nothing hides it.
    """

    file: str
    annotation_id: int | None
    image_wh: tuple[int, int]
    box_xyxy_px: NDArray[np.float64]
    area_px2: float
    names: tuple[str, ...]
    keypoints_px: NDArray[np.float64]
    there: NDArray[np.bool_]
    visible: NDArray[np.bool_]

    def point(self, name: str) -> Point | None:
        """Position (2,) of a keypoint, or None where it is not known."""
        if name not in self.names:
            return None
        index = self.names.index(name)
        return self.keypoints_px[index] if self.there[index] else None

    def pair(self, part: str) -> tuple[Point, Point] | None:
        """Left and right position of a part such as ``hip``, or None unless both are known."""
        left, right = self.point(f"left_{part}"), self.point(f"right_{part}")
        return None if left is None or right is None else (left, right)

    def middle(self, part: str) -> Point | None:
        """The point half way between left and right, or None unless both are known."""
        both = self.pair(part)
        return None if both is None else (both[0] + both[1]) / 2

    @property
    def up(self) -> Point | None:
        """Vector (2,) from the middle of the hips to the middle of the shoulders, or None."""
        shoulders, hips = self.middle("shoulder"), self.middle("hip")
        return None if shoulders is None or hips is None else shoulders - hips

    def error(self, kind: LabelErrorKind, score: float, reason: str) -> LabelError:
        """What is wrong with this person's label; the score is brought between 0 and 1."""
        sure = round(float(np.clip(score, 0, 1)), 3)
        return LabelError(
            file=self.file, annotation_id=self.annotation_id, kind=kind, score=sure, reason=reason
        )


def labelled_persons(dataset: CocoDataset) -> list[AuditedPerson]:
    """All with at least one labelled keypoint; crowds are left out."""
    return [
        AuditedPerson(
            file=image.path.name,
            annotation_id=person.annotation_id,
            image_wh=(image.width_px, image.height_px),
            box_xyxy_px=person.box_xyxy_px,
            area_px2=person.area_px2,
            names=dataset.keypoint_names,
            keypoints_px=person.keypoints_px,
            there=person.visibility > 0,
            visible=person.visibility == 2,
        )
        for image in dataset.images
        for person in image.persons
        if person.is_scored
    ]


def part_names(names: Sequence[str]) -> tuple[str, ...]:
    """The parts that a body has on both sides: ``left_hip`` and ``right_hip`` give ``hip``."""
    parts = (name.removeprefix("left_") for name in names if name.startswith("left_"))
    return tuple(part for part in parts if f"right_{part}" in names)


_TILE_PX, _CAPTION_PX = 240, 34
_COLUMNS, _ROWS = 6, 4
# RGB, apart for every common kind of colour blindness (Okabe and Ito 2008): as in the device's overlay.
_LEFT, _RIGHT, _MIDDLE = (230, 159, 0), (86, 180, 233), (240, 240, 240)


def write_contact_sheet(report: DataAuditReport, folder: Path, target: Path) -> int:
    """Draws up to 24 persons, surest first, each in the image around the box: left orange, right blue.

    Args:
        report: Of the same folder.
        folder: The data folder.
        target: PNG to write; it is not written where no label looks wrong.

    Returns:
        Number of persons drawn.

    Raises:
        ConfigError: An image vanished, or the file cannot be written.
    """
    errors = [error for error in report.label_errors if error.annotation_id is not None]
    if not errors:
        return 0
    images = folder / "images" if (folder / "images").is_dir() else folder
    dataset = read_coco(folder / ANNOTATIONS_FILE_NAME, images)
    persons = {person.annotation_id: person for person in labelled_persons(dataset)}
    tiles = [_tile(persons[error.annotation_id], images, error) for error in errors[: _COLUMNS * _ROWS]]
    encoded, data = cv2.imencode(".png", cv2.cvtColor(_sheet(tiles), cv2.COLOR_RGB2BGR))
    if not encoded:
        raise ConfigError("OpenCV cannot write PNG here.", "Reinstall opencv-python-headless.")
    write_whole(target, [data.tobytes()])
    return len(tiles)


def _sheet(tiles: Sequence[Image]) -> Image:
    columns = min(_COLUMNS, len(tiles))
    rows = -(-len(tiles) // columns)
    height, width = _TILE_PX + _CAPTION_PX, _TILE_PX
    sheet = np.full((rows * height, columns * width, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet


def _tile(person: AuditedPerson, images: Path, error: LabelError) -> Image:
    image = read_image_rgb(images / person.file)
    known = person.keypoints_px[person.there]
    low = np.minimum(person.box_xyxy_px[:2], known.min(axis=0))
    high = np.maximum(person.box_xyxy_px[2:], known.max(axis=0))
    side = float((high - low).max()) * 1.2
    scale = _TILE_PX / max(side, 1.0)
    offset = _TILE_PX / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    tile = np.full((_TILE_PX + _CAPTION_PX, _TILE_PX, 3), 255, np.uint8)
    tile[:_TILE_PX] = cv2.warpAffine(image, matrix, (_TILE_PX, _TILE_PX))
    _draw(tile, person, np.round(person.keypoints_px * scale + offset).astype(int))
    for line, text in enumerate((f"{error.file} #{error.annotation_id}", f"{error.kind} {error.score:.2f}")):
        place = (3, _TILE_PX + 13 + 15 * line)
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _draw(tile: Image, person: AuditedPerson, points: NDArray[np.int_]) -> None:
    # Coordinates far outside overflow the drawing's integers.
    places = np.clip(points, -10 * _TILE_PX, 10 * _TILE_PX).tolist()
    image = tile[:_TILE_PX]
    for first, second in COCO17.edges:
        ends = [COCO17.keypoint_names[index] for index in (first, second)]
        if all(person.point(name) is not None for name in ends):
            start, stop = (places[person.names.index(name)] for name in ends)
            cv2.line(image, start, stop, _colour(ends[0], ends[1]), 2, cv2.LINE_AA)
    for index in np.flatnonzero(person.there):
        colour = _colour(person.names[index], person.names[index])
        cv2.circle(image, places[index], 4, (20, 20, 20), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(image, places[index], 3, colour, cv2.FILLED, cv2.LINE_AA)


def _colour(first: str, second: str) -> tuple[int, int, int]:
    for side, colour in (("left_", _LEFT), ("right_", _RIGHT)):
        if first.startswith(side) and second.startswith(side):
            return colour
    return _MIDDLE
