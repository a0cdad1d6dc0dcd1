"""Holds a converted person detector against its float parent: do both find the same persons?"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import GateFailedError
from edgepose.inference.detector import PersonDetector
from edgepose.inference.image_file import read_image_rgb
from edgepose.pose.boxes import iou_matrix

# Two boxes are the same person when they overlap this much; COCO's first threshold is 0.5.
SAME_PERSON_IOU = 0.7
MIN_AGREEMENT = 0.95


@dataclass(frozen=True)
class DetectorAgreement:
    """The comparison.

    Attributes:
        share: Persons that both find, twice, over all persons that either finds (the F1 score).
        parent_boxes: Boxes of the float parent.
        shipped_boxes: Boxes of what ships.
        pictures: Number of pictures.
    """

    share: float | None
    parent_boxes: int
    shipped_boxes: int
    pictures: int


def detector_agreement(
    parent: PersonDetector, shipped: PersonDetector, pictures: Iterable[Path]
) -> DetectorAgreement:
    """Runs both detectors on the same pictures, at the thresholds of their specs.

    Raises:
        ConfigError: A picture cannot be read.
        ModelError: A detector failed.
    """
    both = expected = found = count = 0
    for path in pictures:
        image = read_image_rgb(path)
        first, _ = parent.detect(image)
        second, _ = shipped.detect(image)
        overlap = iou_matrix(first, second)
        count, expected, found = count + 1, expected + len(first), found + len(second)
        both += int((overlap.max(axis=1, initial=0) >= SAME_PERSON_IOU).sum())
    share = 2 * both / (expected + found) if expected else None
    return DetectorAgreement(share, expected, found, count)


def require_agreement(agreement: DetectorAgreement, name: str) -> None:
    """Lets a detector pass that finds what its parent finds.

    Raises:
        GateFailedError: It does not, or there is nobody to compare on.
    """
    if agreement.share is None:
        raise GateFailedError(
            f"The float detector finds nobody in {agreement.pictures} pictures, so {name} cannot be judged.",
            "Give pictures with persons in --calibration or --images.",
        )
    if agreement.share < MIN_AGREEMENT:
        raise GateFailedError(
            f"{name} finds other persons than its float parent: agreement {agreement.share:.3f} over "
            f"{agreement.parent_boxes} and {agreement.shipped_boxes} boxes; {MIN_AGREEMENT} is needed.",
            "Ship the detector in a higher precision.",
        )
