"""What the shipped person detector finds in golden pictures."""

from __future__ import annotations

from edgepose.errors import GateFailedError
from edgepose.host.bundle.golden import GoldenPicture
from edgepose.inference.detector import PersonDetector
from edgepose.spec.bundle_manifest import GoldenDetection


def detect_golden(
    detector: PersonDetector, pictures: dict[str, GoldenPicture]
) -> tuple[GoldenDetection, ...]:
    """Records the detector's best box in every golden picture in which it finds somebody.

    Args:
        detector: The detector that goes to the device, opened with ``GOLDEN_SCORE_THRESHOLD``.
        pictures: Path inside the bundle to the picture.

    Raises:
        GateFailedError: It finds nobody in any, so nothing could be checked on the device.
        ModelError: The detector failed.
    """
    found = []
    for file, picture in pictures.items():
        boxes, _ = detector.detect(picture.image)
        if len(boxes):
            x0, y0, x1, y1 = (float(value) for value in boxes[0])
            found.append(GoldenDetection(file=file, box_xyxy_px=(x0, y0, x1, y1)))
    if not found:
        raise GateFailedError(
            f"The detector finds nobody in {len(pictures)} golden pictures, not even with the lowest score.",
            "Check the detector and its spec: edgepose run IMAGES --model MODEL --detector DETECTOR.",
        )
    return tuple(found)
