"""Composes a picture: background, light, figures, and the labels that are true by construction."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.figure_body import Cone, body_cones, cone_extent, sample_outfit
from edgepose.host.data.figure_drawing import SUPERSAMPLING, Layer, draw_cones, sample_position
from edgepose.host.data.figure_pose import sample_pose
from edgepose.host.data.scene import Scene

_SMALLEST_SIDE_PX = 32
# How far below the visible surface a keypoint may lie and still count as seen, in body heights: COCO's
# limb keypoints are inside the body, those of the face on it.
_SEEN_DEPTH = np.array(
    [0.02] * 3 + [0.03] * 2 + [0.06] * 2 + [0.045] * 4 + [0.1] * 2 + [0.06] * 2 + [0.05] * 2
)


@dataclass(frozen=True)
class _Figure:
    """A figure in picture coordinates."""

    cones: list[Cone]
    keypoints_xyz_px: NDArray[np.float64]
    height_px: float
    sits: bool


def draw_scene(seed: int, size_wh: tuple[int, int], persons: int = 1) -> Scene:
    """Draws figures that do not exist; the same arguments give the same bytes.

    Args:
        seed: Chooses everything: poses, clothes, light, background.
        size_wh: Picture width and height in pixels, each at least 32.
        persons: Number of figures; they stand side by side and may overlap.

    Raises:
        ConfigError: A size is too small or ``persons`` is below 0.
    """
    if min(size_wh) < _SMALLEST_SIDE_PX or persons < 0:
        raise ConfigError(
            f"A scene needs sides of at least {_SMALLEST_SIDE_PX} px and 0 or more persons; "
            f"found {size_wh[0]}x{size_wh[1]} px and {persons} persons."
        )
    rng = np.random.default_rng(seed)
    light = np.array([rng.uniform(-0.6, 0.6), rng.uniform(-0.7, -0.2), 0.75])
    light /= np.linalg.norm(light)
    figures = [_sample_figure(rng, size_wh, slot, persons) for slot in rng.permutation(persons)]
    canvas = _background(rng, size_wh, figures)
    layers = [draw_cones(figure.cones, size_wh, light) for figure in figures]
    for layer in layers:
        folds = 1 + 0.05 * _soft_noise(rng, (canvas.shape[1], canvas.shape[0]), cells=28)
        canvas = np.where(layer.mask[..., None], layer.color * folds[..., None], canvas)
    picture = cv2.resize(canvas, size_wh, interpolation=cv2.INTER_AREA)
    picture = picture * rng.uniform(0.85, 1.1) + rng.normal(0, rng.uniform(1, 4), picture.shape)
    return _labelled(np.clip(np.round(picture), 0, 255).astype(np.uint8), figures, layers)


def _sample_figure(rng: np.random.Generator, size_wh: tuple[int, int], slot: int, slots: int) -> _Figure:
    """Draws a figure and puts it into its share of the picture's width, wholly inside the picture."""
    pose = sample_pose(rng)
    cones = body_cones(pose, sample_outfit(rng))
    low, high = cone_extent(cones)
    extent = high - low
    width, height = size_wh
    slot_width = width / slots
    fit = min(0.96 * height / extent[1], min(0.96 * width, 1.25 * slot_width) / extent[0])
    scale = fit * rng.uniform(0.68, 1.0)
    free = np.array([slot_width, height]) - scale * extent
    corner = np.array(
        [slot * slot_width + rng.uniform(0.2, 0.8) * free[0], rng.uniform(0.55, 0.95) * free[1]]
    )
    margin = 0.01 * np.array(size_wh)
    corner = np.clip(corner, margin, np.array(size_wh) - 1 - margin - scale * extent)

    def to_picture(points: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = corner[0] + scale * (points[..., 0] - low[0]), corner[1] + scale * (high[1] - points[..., 1])
        return np.stack([x, y, scale * points[..., 2]], axis=-1)

    placed = [
        replace(c, ends=to_picture(c.ends), radii=(scale * c.radii[0], scale * c.radii[1])) for c in cones
    ]
    return _Figure(placed, to_picture(pose.keypoints), float(scale), pose.family == "sitting")


def _soft_noise(rng: np.random.Generator, size_wh: tuple[int, int], cells: int) -> NDArray[np.float32]:
    """Smooth noise (H, W), about -1 to 1, with ``cells`` bumps along each side."""
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _background(
    rng: np.random.Generator, size_wh: tuple[int, int], figures: list[_Figure]
) -> NDArray[np.float32]:
    """Wall, floor, some furniture, and under each figure its shadow or its seat."""
    width, height = size_wh[0] * SUPERSAMPLING, size_wh[1] * SUPERSAMPLING
    wall, floor = rng.uniform(90, 235, 3), rng.uniform(60, 190, 3)
    horizon = int(height * rng.uniform(0.5, 0.8))
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    canvas = (wall * (0.8 + 0.25 * rows)) * np.ones((1, width, 1), np.float32)
    canvas[horizon:] = (floor * (0.7 + 0.35 * rows))[horizon:]
    canvas = np.ascontiguousarray(canvas, dtype=np.float32)
    for _ in range(rng.integers(0, 6)):
        _draw_box(rng, canvas, horizon)
    for figure in figures:
        _draw_ground(rng, canvas, figure)
    for cells, strength in ((5, 0.08), (60, 0.05)):
        canvas *= 1 + strength * _soft_noise(rng, (width, height), cells)[..., None]
    return canvas


def _draw_box(rng: np.random.Generator, canvas: NDArray[np.float32], horizon: int) -> None:
    """A cupboard, a door or a picture: a rectangle with a lighter rim."""
    height, width = canvas.shape[:2]
    size = (rng.uniform(0.06, 0.3, 2) * (width, height)).astype(int)
    x = int(rng.uniform(-0.05, 1) * width)
    y = int(
        horizon - size[1] * rng.uniform(0.6, 1.0) if rng.random() < 0.6 else rng.uniform(0, 0.5) * horizon
    )
    color = rng.uniform(50, 220, 3)
    rim = max(1, height // 160)
    cv2.rectangle(canvas, (x, y), (x + int(size[0]), y + int(size[1])), (color * 1.15).tolist(), -1)
    inner = (x + rim, y + rim), (x + int(size[0]) - rim, y + int(size[1]) - rim)
    cv2.rectangle(canvas, *inner, color.tolist(), -1)


def _draw_ground(rng: np.random.Generator, canvas: NDArray[np.float32], figure: _Figure) -> None:
    points = sample_position(figure.keypoints_xyz_px[:, :2])
    unit = figure.height_px * SUPERSAMPLING
    feet, hips = points[15:17].mean(axis=0), points[11:13].mean(axis=0)
    if figure.sits:
        corner = (int(hips[0] - 0.13 * unit), int(hips[1] + 0.02 * unit))
        opposite = (int(hips[0] + 0.13 * unit), int(feet[1] + 0.02 * unit))
        cv2.rectangle(canvas, corner, opposite, rng.uniform(40, 160, 3).tolist(), -1)
    shadow = np.zeros(canvas.shape[:2], np.float32)
    axes = (max(1, int(0.2 * unit)), max(1, int(0.035 * unit)))
    cv2.ellipse(shadow, (int(feet[0]), int(feet[1] + 0.03 * unit)), axes, 0, 0, 360, 1.0, -1)
    canvas *= (1 - 0.35 * cv2.blur(shadow, (axes[1], axes[1])))[..., None]


def _labelled(image: NDArray[np.uint8], figures: list[_Figure], layers: list[Layer]) -> Scene:
    count = len(figures)
    visible = np.zeros((count, 17), bool)
    boxes, areas = np.zeros((count, 4), np.float32), np.zeros(count, np.float32)
    for index, (figure, layer) in enumerate(zip(figures, layers, strict=True)):
        rows, columns = np.nonzero(layer.mask)
        edges = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        boxes[index] = edges / SUPERSAMPLING
        areas[index] = len(rows) / SUPERSAMPLING**2
        visible[index] = _is_seen(figure, layer, layers[index + 1 :])
    keypoints = np.array([figure.keypoints_xyz_px[:, :2] for figure in figures], np.float32)
    return Scene(image, keypoints.reshape(count, 17, 2), visible, boxes, areas)


def _is_seen(figure: _Figure, layer: Layer, in_front: list[Layer]) -> NDArray[np.bool_]:
    """(17,), whether neither the figure itself nor one in front of it hides the keypoint."""
    columns, rows = np.round(sample_position(figure.keypoints_xyz_px[:, :2])).astype(int).T
    surface_px = layer.depth_px[rows, columns]
    seen = surface_px - figure.keypoints_xyz_px[:, 2] < _SEEN_DEPTH * figure.height_px
    for other in in_front:
        seen &= ~other.mask[rows, columns]
    return np.asarray(seen)
