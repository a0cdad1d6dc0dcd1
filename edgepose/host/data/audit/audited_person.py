"""A person as the audit sees one: keypoints by name, whoever found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.coco import CocoDataset, LabelledImage, LabelledPerson


@dataclass(frozen=True, eq=False)
class AuditedPerson:
    """One person in one picture.

    Attributes:
        file: Name of the picture.
        annotation_id: The annotation's ``id``; None where a model found the person.
        image_wh: Size of the picture in pixels.
        box_xyxy_px: float64 (4,).
        area_px2: Object area in square pixels.
        names: The K keypoint names.
        keypoints_px: float64 (K, 2).
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

    def point(self, name: str) -> NDArray[np.float64] | None:
        """Position (2,) of a keypoint, or None where it is not known."""
        if name not in self.names:
            return None
        index = self.names.index(name)
        return self.keypoints_px[index] if self.there[index] else None

    def pair(self, part: str) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Left and right position of a part such as ``hip``, or None unless both are known."""
        left, right = self.point(f"left_{part}"), self.point(f"right_{part}")
        return None if left is None or right is None else (left, right)

    def middle(self, part: str) -> NDArray[np.float64] | None:
        """The point half way between left and right, or None unless both are known."""
        both = self.pair(part)
        return None if both is None else (both[0] + both[1]) / 2

    @property
    def up(self) -> NDArray[np.float64] | None:
        """Vector (2,) from the middle of the hips to the middle of the shoulders, or None."""
        shoulders, hips = self.middle("shoulder"), self.middle("hip")
        return None if shoulders is None or hips is None else shoulders - hips


def labelled_persons(dataset: CocoDataset) -> list[AuditedPerson]:
    """Everybody with at least one labelled keypoint; crowds are left out."""
    return [
        _audited(image, person, dataset.keypoint_names)
        for image in dataset.images
        for person in image.persons
        if person.is_scored
    ]


def part_names(names: Sequence[str]) -> tuple[str, ...]:
    """The parts that a body has on both sides: ``left_hip`` and ``right_hip`` give ``hip``."""
    return tuple(
        name.removeprefix("left_")
        for name in names
        if name.startswith("left_") and f"right_{name.removeprefix('left_')}" in names
    )


def _audited(image: LabelledImage, person: LabelledPerson, names: tuple[str, ...]) -> AuditedPerson:
    return AuditedPerson(
        file=image.path.name,
        annotation_id=person.annotation_id,
        image_wh=(image.width_px, image.height_px),
        box_xyxy_px=person.box_xyxy_px,
        area_px2=person.area_px2,
        names=names,
        keypoints_px=person.keypoints_px,
        there=person.visibility > 0,
        visible=person.visibility == 2,
    )
