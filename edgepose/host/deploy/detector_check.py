"""Holds a converted person detector against its float parent: do both find the same persons?

Where they do not, labels can still say that what ships is as good: rounding moves a weak detector's boxes
more than it harms them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import GateFailedError
from edgepose.host.data.coco import CocoDataset
from edgepose.host.evaluate.box_accuracy import box_figures
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

    @property
    def reached(self) -> bool:
        """Whether both find the same persons."""
        return self.share is not None and self.share >= MIN_AGREEMENT


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
    if not agreement.reached:
        raise GateFailedError(
            f"{name} finds other persons than its float parent: agreement {agreement.share:.3f} over "
            f"{agreement.parent_boxes} and {agreement.shipped_boxes} boxes; {MIN_AGREEMENT} is needed.",
            "Ship the detector in a higher precision.",
        )


@dataclass(frozen=True)
class BoxLoss:
    """Box AP of both on labelled pictures.

    Attributes:
        parent_ap: Of the float parent.
        shipped_ap: Of what ships.
        allowed: How much may be lost.
        persons: Labelled persons.
    """

    parent_ap: float
    shipped_ap: float
    allowed: float
    persons: int

    @property
    def passed(self) -> bool:
        """Whether no more is lost than is allowed."""
        return self.shipped_ap >= self.parent_ap - self.allowed


def box_loss(parent: PersonDetector, shipped: PersonDetector, labels: CocoDataset, allowed: float) -> BoxLoss:
    """Box AP of both, on the same pictures.

    Args:
        parent: Opened with a low score threshold.
        shipped: Likewise.
        labels: Where persons are.
        allowed: How much AP may be lost, as a fraction.

    Raises:
        ConfigError: A picture cannot be read.
        ModelError: A detector failed.
    """
    first, second = box_figures(parent, labels), box_figures(shipped, labels)
    return BoxLoss(first.box_ap or 0.0, second.box_ap or 0.0, allowed, first.persons)


def require_accuracy(loss: BoxLoss, agreement: DetectorAgreement, name: str) -> None:
    """Lets a detector pass that labels find as good as its parent, although it finds other persons.

    Raises:
        GateFailedError: It is worse.
    """
    if loss.passed:
        return
    raise GateFailedError(
        f"{name} finds other persons than its float parent (agreement {agreement.share or 0:.3f}, "
        f"{MIN_AGREEMENT} is needed) and is worse by the labels: box AP {loss.shipped_ap:.4f} against "
        f"{loss.parent_ap:.4f} on {loss.persons} persons; {loss.allowed} may be lost.",
        "Ship the detector in a higher precision.",
    )
