"""Parts of the persons for which a model can be bad while the mean looks good.

==================  ==========================================================================
size                COCO's area ranges: small under 32^2, medium up to 96^2, large above, px^2
keypoints           visible ones (visibility 2): few up to a third, some up to two thirds, most
crowding            highest IoU with another person's box: alone under 0.01, near, crowded from 0.2
brightness          mean grey inside the box: dark under 60, medium, bright from 115, of 255
blur                variance of the Laplacian inside the box, scaled so that its longer side has 128
                    pixels: blurred under 300, medium, sharp from 2000
==================  ==========================================================================

The bounds of the last three lie near the quartiles of COCO's persons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.coco import CocoDataset, LabelledImage
from edgepose.host.evaluate.predictions import read_labelled_image
from edgepose.pose.boxes import iou_matrix
from edgepose.runtime.preprocess import Image

# Fewer persons make figures too uncertain to judge.
MIN_GATED_PERSONS = 30
_BLUR_SIDE_PX = 128

# Slice group -> (names, bounds between them); a value on a bound belongs to the upper slice.
_BINS: dict[str, tuple[tuple[str, ...], tuple[float, ...]]] = {
    "size": (("small", "medium", "large"), (32.0**2, 96.0**2)),
    "keypoints": (("few", "some", "most"), (1 / 3, 2 / 3)),
    "crowding": (("alone", "near", "crowded"), (0.01, 0.2)),
    "brightness": (("dark", "medium", "bright"), (60.0, 115.0)),
    "blur": (("blurred", "medium", "sharp"), (300.0, 2000.0)),
}
Measure = Callable[[LabelledImage, Image], NDArray[np.float64]]


def slice_membership(dataset: CocoDataset) -> dict[str, list[NDArray[np.bool_]]]:
    """Says who belongs to which slice.

    Returns:
        Slice name, such as ``size_large``, to one mask (M,) per image over all labelled persons.

    Raises:
        ConfigError: An image is not readable or has another size than its labels say.
    """
    membership: dict[str, list[NDArray[np.bool_]]] = {
        f"{group}_{name}": [] for group, (names, _) in _BINS.items() for name in names
    }
    for labelled in dataset.images:
        image = read_labelled_image(labelled)
        for group, (names, bounds) in _BINS.items():
            place = np.digitize(_MEASURES[group](labelled, image), bounds)
            for index, name in enumerate(names):
                membership[f"{group}_{name}"].append(place == index)
    return membership


def _areas(labelled: LabelledImage, _picture: Image) -> NDArray[np.float64]:
    return np.array([person.area_px2 for person in labelled.persons], dtype=np.float64)


def _visible_share(labelled: LabelledImage, _picture: Image) -> NDArray[np.float64]:
    return np.array([np.mean(person.visibility == 2) for person in labelled.persons], dtype=np.float64)


def _crowding(labelled: LabelledImage, _picture: Image) -> NDArray[np.float64]:
    boxes = np.array([person.box_xyxy_px for person in labelled.persons]).reshape(-1, 4)
    overlap = iou_matrix(boxes, boxes)
    np.fill_diagonal(overlap, 0.0)
    return np.asarray(overlap.max(axis=1, initial=0.0))


def _brightness(labelled: LabelledImage, image: Image) -> NDArray[np.float64]:
    return np.array([cut.mean() for cut in _grey_cuts(labelled, image)], dtype=np.float64)


def _sharpness(labelled: LabelledImage, image: Image) -> NDArray[np.float64]:
    return np.array([_laplacian_variance(cut) for cut in _grey_cuts(labelled, image)], dtype=np.float64)


def _grey_cuts(labelled: LabelledImage, image: Image) -> Sequence[NDArray[np.uint8]]:
    """What lies inside each person's box, at least one pixel."""
    grey = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    limit = np.array([image.shape[1], image.shape[0]])
    cuts = []
    for person in labelled.persons:
        x0, y0 = np.clip(np.floor(person.box_xyxy_px[:2]), 0, limit - 1).astype(int)
        x1, y1 = np.clip(np.ceil(person.box_xyxy_px[2:]), 1, limit).astype(int)
        cuts.append(grey[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)])
    return cuts


def _laplacian_variance(cut: NDArray[np.uint8]) -> float:
    scale = _BLUR_SIDE_PX / max(cut.shape)
    size_wh = (max(1, round(cut.shape[1] * scale)), max(1, round(cut.shape[0] * scale)))
    resized = cv2.resize(cut, size_wh, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    return float(cv2.Laplacian(resized, cv2.CV_64F).var())


_MEASURES: dict[str, Measure] = {
    "size": _areas,
    "keypoints": _visible_share,
    "crowding": _crowding,
    "brightness": _brightness,
    "blur": _sharpness,
}
