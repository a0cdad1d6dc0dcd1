"""Pictures of marker figures: 17 coloured discs, one colour per keypoint, placed like a human body.

The colours are so far apart that a model of a few fixed convolutions finds them
(:mod:`tests.support.marker_models`): accuracy can be tested without training and without anybody's picture.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.image_set import write_scenes
from edgepose.host.synthetic.stage import Scene
from edgepose.pose.similarity import BOX_TO_MASK_AREA

# All have one channel at 255 and differ by at least 128 somewhere, so no blend of one with the grey
# background comes near another.
MARKER_RGB: NDArray[np.float64] = np.array(
    [
        (255, 0, 0), (255, 128, 0), (255, 255, 0), (128, 255, 0), (0, 255, 0), (0, 255, 128), (0, 255, 255),
        (0, 128, 255), (0, 0, 255), (128, 0, 255), (255, 0, 255), (255, 0, 128), (255, 128, 128),
        (128, 255, 128), (128, 128, 255), (255, 255, 128), (128, 255, 255),
    ],
    dtype=np.float64,
)  # fmt: skip
SIZE_WH = (320, 240)
# Shares of the figure's height.
DISC_RADIUS, BOX_MARGIN, HALF_WIDTH = 0.028, 0.03, 0.3
_TRUNK = np.array(
    [(0, 0.12), (0.045, 0.07), (-0.045, 0.07), (0.105, 0.1), (-0.105, 0.1), (0.14, 0.26), (-0.14, 0.26)]
)
_HIPS = np.array([(0.085, 0.55), (-0.085, 0.55)])


def marker_scene(seed: int, size_wh: tuple[int, int] = SIZE_WH, persons: int = 1) -> Scene:
    """Draws marker figures side by side; the same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    width, height = size_wh
    slot = width / max(persons, 1)
    # Neighbours stay out of each other's crop (box x1.25, aspect 3:4).
    tallest = min(0.95 * height, slot / 0.9)
    rows, columns = np.indices((height, width)).astype(np.float64)
    grey = rng.uniform(30, 80) + 25 * np.sin(columns / rng.uniform(20, 60) + rows / rng.uniform(20, 60))
    picture = np.repeat(grey[..., None], 3, axis=-1)
    keypoints = np.zeros((persons, 17, 2))
    boxes = np.zeros((persons, 4))
    for person in range(persons):
        scale = tallest * rng.uniform(0.8, 1.0)
        body = _sample_body(rng)
        top = rng.uniform(0.02, 0.98) * (height - scale)
        free = max(slot - 2 * HALF_WIDTH * scale - 4, 0) if persons == 1 else 0
        centre = (person + 0.5) * slot + rng.uniform(-0.5, 0.5) * free
        keypoints[person] = body * scale + (centre, top)
        margin = BOX_MARGIN * scale
        boxes[person] = [*keypoints[person].min(axis=0) - margin, *keypoints[person].max(axis=0) + margin]
        for point, color in zip(keypoints[person], MARKER_RGB, strict=True):
            distance = np.hypot(columns - point[0], rows - point[1])
            cover = np.clip(DISC_RADIUS * scale - distance + 0.5, 0, 1)[..., None]
            picture = picture * (1 - cover) + color * cover
    picture += rng.normal(0, 3, picture.shape)
    sides = boxes[:, 2:] - boxes[:, :2]
    return Scene(
        image=np.clip(np.round(picture), 0, 255).astype(np.uint8),
        keypoints_px=keypoints.astype(np.float32),
        visibility=np.full((persons, 17), 2, np.int64),
        boxes_xyxy_px=boxes.astype(np.float32),
        areas_px2=(BOX_TO_MASK_AREA * sides.prod(axis=1)).astype(np.float32),
        person_ids=np.arange(persons, dtype=np.int64),
        activities=("standing",) * persons,
    )


def write_marker_set(
    folder: Path, count: int, seed: int, size_wh: tuple[int, int] = SIZE_WH, persons: int = 1
) -> Path:
    """Writes a data folder of marker figures (PNG: JPEG would smear the colours); returns it."""
    scenes = (marker_scene(1000 * seed + index, size_wh, persons) for index in range(count))
    write_scenes(folder, scenes, stem="marker", suffix=".png", source=f"marker_scene, seed {seed}")
    return folder


def _sample_body(rng: np.random.Generator) -> NDArray[np.float64]:
    """(17, 2), shares of the height; drawn until no disc touches another and all fit the width."""
    while True:
        limbs = np.zeros((2, 4, 2))
        for side, sign in enumerate((1, -1)):
            arm, forearm = rng.uniform(5, 160), rng.uniform(-20, 60)
            leg, shank = rng.uniform(-4, 14), rng.uniform(-10, 6)
            shoulder = _TRUNK[5 + side]
            elbow = shoulder + 0.17 * _direction(arm, sign)
            knee = _HIPS[side] + 0.2 * _direction(leg, sign)
            limbs[side] = (
                elbow, elbow + 0.15 * _direction(arm + forearm, sign),
                knee, knee + 0.2 * _direction(leg + shank, sign),
            )  # fmt: skip
        arms, legs = limbs[:, :2].transpose(1, 0, 2), limbs[:, 2:].transpose(1, 0, 2)
        body = np.concatenate([_TRUNK, *arms, _HIPS, *legs])
        gaps = np.linalg.norm(body[:, None] - body[None], axis=-1) + np.eye(17)
        inside = np.abs(body[:, 0]).max() < HALF_WIDTH and body[:, 1].min() > 0.03
        if inside and gaps.min() > 2.2 * DISC_RADIUS:
            return body


def _direction(degrees: float, sign: int) -> NDArray[np.float64]:
    """Unit vector, 0 straight down, growing outward to the side of ``sign``."""
    angle = np.radians(degrees)
    return np.array([sign * np.sin(angle), np.cos(angle)])
