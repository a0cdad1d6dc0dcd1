"""Random views of a person, pure functions of a random generator.

A view is one affine map from image pixels to the student's input. Image, teacher maps and keypoints all
go through that very map, so they cannot drift apart by half a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.pose.boxes import grow_to_aspect
from edgepose.pose.skeletons import Skeleton
from edgepose.runtime.preprocess import Image

Affine = NDArray[np.float64]


@dataclass(frozen=True)
class AugmentationSettings:
    """How strongly views differ.

    Attributes:
        box_scale: Growth of the person box, that of the student's spec.
        shift: Largest shift of the window, as a part of its size.
        log_scale: Standard deviation of the logarithm of the zoom.
        rotation_deg: Standard deviation of the rotation, cut at twice that.
        rotation_share: Share of rotated views.
        half_body_share: Share of views cut to one half of the body.
        flip_share: Share of mirrored views.
        occlusion_share: Share of views with a patch in front of the person.
    """

    box_scale: float = 1.25
    shift: float = 0.08
    log_scale: float = 0.2
    rotation_deg: float = 25.0
    rotation_share: float = 0.5
    half_body_share: float = 0.25
    flip_share: float = 0.5
    occlusion_share: float = 0.3


NO_AUGMENTATION = AugmentationSettings(1.25, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
# A short run learns four times as much from views that differ little; a longer one learns them by heart
# (docs/adr/0017-students.md).
AUGMENTATIONS: dict[str, AugmentationSettings] = {
    "light": AugmentationSettings(1.25, 0.05, 0.12, 15.0, 0.3, 0.1, 0.5, 0.1),
    "medium": AugmentationSettings(1.25, 0.08, 0.2, 15.0, 0.3, 0.35, 0.5, 0.2),
    "strong": AugmentationSettings(),
}


@dataclass(frozen=True, eq=False)
class View:
    """How the student sees a person.

    Attributes:
        matrix: (2, 3), image pixels to input pixels.
        mirrored: Whether left and right changed places.
    """

    matrix: Affine
    mirrored: bool


@dataclass(frozen=True, eq=False)
class Subject:
    """What is known of the person to be shown.

    Attributes:
        box_xyxy_px: (4,).
        keypoints_px: (K, 2), for half-body views.
        trusted: (K,), which of them are known.
    """

    box_xyxy_px: NDArray[np.floating]
    keypoints_px: NDArray[np.floating]
    trusted: NDArray[np.bool_]


def random_view(
    subject: Subject,
    input_wh: tuple[int, int],
    settings: AugmentationSettings,
    rng: np.random.Generator,
    skeleton: Skeleton,
) -> View:
    """Draws a view. Always takes the same number of draws, so that settings do not shift later ones."""
    draws = rng.random(5)
    normals = rng.standard_normal(2)
    jitter = rng.uniform(-1, 1, 2)
    box = np.asarray(subject.box_xyxy_px, np.float64)
    if draws[0] < settings.half_body_share:
        box = _half_body_box(subject, box, skeleton, upper=draws[1] < 0.6)
    x0, y0, x1, y1 = grow_to_aspect(box, input_wh[0] / input_wh[1], settings.box_scale)
    size = np.array([x1 - x0, y1 - y0])
    centre = np.array([x0 + x1, y0 + y1]) / 2 + jitter * settings.shift * size
    zoom = float(np.exp(np.clip(normals[0], -2, 2) * settings.log_scale))
    angle = 0.0
    if draws[2] < settings.rotation_share:
        angle = float(np.radians(np.clip(normals[1], -2, 2) * settings.rotation_deg))
    mirrored = bool(draws[3] < settings.flip_share)
    return View(view_matrix(centre, size[1] / zoom, angle, input_wh, mirrored=mirrored), mirrored)


def view_matrix(
    centre_px: NDArray[np.floating],
    window_height_px: float,
    angle_rad: float,
    input_wh: tuple[int, int],
    *,
    mirrored: bool,
) -> Affine:
    """The map that shows a rotated window of the image.

    Args:
        centre_px: (2,), image position that lands in the middle of the input.
        window_height_px: Height of the window in image pixels.
        angle_rad: Rotation of the content, clockwise as the image's y axis points down.
        input_wh: Input size; the window has its aspect ratio.
        mirrored: Whether to mirror left and right.

    Returns:
        (2, 3), image pixels to input pixels.
    """
    scale = input_wh[1] / window_height_px
    cos, sin = scale * np.cos(angle_rad), scale * np.sin(angle_rad)
    linear = np.array([[cos, -sin], [sin, cos]])
    if mirrored:
        linear = np.diag([-1.0, 1.0]) @ linear
    # The same middle as `crop_transform`: without jitter and rotation the maps are equal.
    offset = np.array(input_wh) / 2 - linear @ np.asarray(centre_px, np.float64)
    return np.column_stack([linear, offset])


def apply_affine(matrix: Affine, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Maps points (..., 2)."""
    return np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]


def compose(outer: Affine, inner: Affine) -> Affine:
    """The map that first applies ``inner``, then ``outer``."""
    return np.column_stack([outer[:, :2] @ inner[:, :2], outer[:, :2] @ inner[:, 2] + outer[:, 2]])


def inverse(matrix: Affine) -> Affine:
    """The way back."""
    (a, b, x), (c, d, y) = matrix.tolist()
    # Plain floats: on six numbers numpy's calls cost more than the sums.
    scale = 1 / (a * d - b * c)
    a, b, c, d = d * scale, -b * scale, -c * scale, a * scale
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


_UPPER = ("nose", "eye", "ear", "shoulder", "elbow", "wrist", "head", "neck")
_MIN_HALF_KEYPOINTS = 4
_HALF_MARGIN = 1.3


def _half_body_box(
    subject: Subject, box: NDArray[np.float64], skeleton: Skeleton, *, upper: bool
) -> NDArray[np.float64]:
    """The box of one half of the body, or the whole one where too little of that half is known."""
    names = skeleton.keypoint_names
    half = np.array([any(part in name for part in _UPPER) == upper for name in names])
    points = np.asarray(subject.keypoints_px, np.float64)[half & subject.trusted]
    if len(points) < _MIN_HALF_KEYPOINTS:
        return box
    low, high = points.min(axis=0), points.max(axis=0)
    centre, size = (low + high) / 2, np.maximum((high - low) * _HALF_MARGIN, (box[2:] - box[:2]) / 4)
    return np.concatenate([centre - size / 2, centre + size / 2])


def recolour(image: Image, settings: AugmentationSettings, rng: np.random.Generator) -> Image:
    """Light, colour, sharpness and occlusion; the image may be changed in place."""
    draws = rng.random(6)
    image = _relit(image, rng, grey=draws[0] < 0.08)
    if draws[1] < 0.15:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), 0.4 + 1.2 * draws[2]))
    elif draws[1] < 0.35:
        image = _coarsened(image, 0.3 + 0.5 * draws[2])
    if draws[3] < 0.1:
        noise = rng.normal(0, 3 + 9 * draws[4], image.shape).astype(np.int16)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if draws[5] < settings.occlusion_share:
        _occlude(image, rng)
    return image


def _relit(image: Image, rng: np.random.Generator, *, grey: bool) -> Image:
    """A gain, an offset and a gamma per channel, mostly common to the three."""
    common, own = rng.normal(0, 1, 3), rng.normal(0, 1, (3, 3))
    gain = np.exp(0.2 * common[0] + 0.06 * own[:, 0])
    gamma = np.exp(0.15 * common[1] + 0.04 * own[:, 1])
    offset = 15 * common[2] + 4 * own[:, 2]
    levels = np.arange(256)[:, None] / 255
    table = np.clip(255 * levels**gamma * gain + offset, 0, 255).astype(np.uint8)
    image = np.asarray(cv2.LUT(image, table.reshape(1, 256, 3)))
    if grey:
        image = np.repeat(image.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    return image


def _coarsened(image: Image, factor: float) -> Image:
    """As a small person looks when enlarged."""
    height, width = image.shape[:2]
    small = cv2.resize(image, (int(width * factor), int(height * factor)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _occlude(image: Image, rng: np.random.Generator) -> None:
    """Puts one to three plain or noisy rectangles in front."""
    height, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 4))):
        w, h = (rng.uniform(0.08, 0.35, 2) * (width, height)).astype(int)
        x, y = int(rng.integers(0, width - w)), int(rng.integers(0, height - h))
        colour = rng.integers(0, 256, 3)
        image[y : y + h, x : x + w] = colour
