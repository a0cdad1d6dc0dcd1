"""The most suspicious labels side by side, drawn as they are labelled: left orange, right blue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.audit.audited_person import AuditedPerson, labelled_persons
from edgepose.host.data.coco import read_coco
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME
from edgepose.pose.skeletons import COCO17
from edgepose.records.data_audit import DataAuditReport, LabelError
from edgepose.records.files import write_whole
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.preprocess import Image

_TILE_PX = 240
_CAPTION_PX = 34
_COLUMNS = 6
_ROWS = 4
# RGB, apart for every common kind of colour blindness (Okabe and Ito 2008): as in the device's overlay.
_LEFT, _RIGHT, _MIDDLE = (230, 159, 0), (86, 180, 233), (240, 240, 240)


def write_contact_sheet(report: DataAuditReport, folder: Path, target: Path) -> int:
    """Draws up to 24 persons, surest first, each in the picture around the box.

    Args:
        report: Of the same folder.
        folder: The data folder.
        target: PNG to write; it is not written where no label looks wrong.

    Returns:
        Number of persons drawn.

    Raises:
        ConfigError: A picture vanished, or the file cannot be written.
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
    picture = read_image_rgb(images / person.file)
    known = person.keypoints_px[person.there]
    low = np.minimum(person.box_xyxy_px[:2], known.min(axis=0))
    high = np.maximum(person.box_xyxy_px[2:], known.max(axis=0))
    side = float((high - low).max()) * 1.2
    scale = _TILE_PX / max(side, 1.0)
    offset = _TILE_PX / 2 - scale * (low + high) / 2
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    tile = np.full((_TILE_PX + _CAPTION_PX, _TILE_PX, 3), 255, np.uint8)
    tile[:_TILE_PX] = cv2.warpAffine(picture, matrix, (_TILE_PX, _TILE_PX))
    _draw(tile, person, np.round(person.keypoints_px * scale + offset).astype(int))
    for line, text in enumerate((f"{error.file} #{error.annotation_id}", f"{error.kind} {error.score:.2f}")):
        place = (3, _TILE_PX + 13 + 15 * line)
        cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, (0, 0, 0), 1, cv2.LINE_AA)
    return tile


def _draw(tile: Image, person: AuditedPerson, points: NDArray[np.int_]) -> None:
    # Coordinates far outside overflow the drawing's integers.
    places = np.clip(points, -10 * _TILE_PX, 10 * _TILE_PX).tolist()
    picture = tile[:_TILE_PX]
    for first, second in COCO17.edges:
        ends = [COCO17.keypoint_names[index] for index in (first, second)]
        if all(person.point(name) is not None for name in ends):
            start, stop = (places[person.names.index(name)] for name in ends)
            cv2.line(picture, start, stop, _colour(ends[0], ends[1]), 2, cv2.LINE_AA)
    for index in np.flatnonzero(person.there):
        colour = _colour(person.names[index], person.names[index])
        cv2.circle(picture, places[index], 4, (20, 20, 20), cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, places[index], 3, colour, cv2.FILLED, cv2.LINE_AA)


def _colour(first: str, second: str) -> tuple[int, int, int]:
    for side, colour in (("left_", _LEFT), ("right_", _RIGHT)):
        if first.startswith(side) and second.startswith(side):
            return colour
    return _MIDDLE
