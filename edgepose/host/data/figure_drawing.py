"""Draws rounded cones with light and with correct hiding: a depth buffer in numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.figure_body import Cone

SUPERSAMPLING = 2
_AMBIENT = 0.52


@dataclass(frozen=True)
class Layer:
    """One figure before it is laid over the background.

    Attributes:
        color: float32 (H', W', 3), 0 to 255, at ``SUPERSAMPLING`` times the picture's size.
        depth_px: float32 (H', W'), towards the camera, -inf where there is no figure.
    """

    color: NDArray[np.float32]
    depth_px: NDArray[np.float32]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(H', W'), where the figure is."""
        return np.isfinite(self.depth_px)


def draw_cones(cones: Sequence[Cone], size_wh: tuple[int, int], light: NDArray[np.float64]) -> Layer:
    """Draws cones whose coordinates are picture pixels, x right, y down, z towards the camera.

    Args:
        cones: In any order; the nearer surface wins.
        size_wh: Size of the picture.
        light: (3,), unit vector towards the light.
    """
    width, height = size_wh[0] * SUPERSAMPLING, size_wh[1] * SUPERSAMPLING
    color = np.zeros((height, width, 3), np.float32)
    depth = np.full((height, width), -np.inf, np.float32)
    for cone in cones:
        _draw_cone(cone, color, depth, light)
    return Layer(color, depth)


def sample_position(picture_px: NDArray[np.floating]) -> NDArray[np.floating]:
    """Picture coordinates as coordinates of the finer grid (pixel centres are whole in both)."""
    return (picture_px + 0.5) * SUPERSAMPLING - 0.5


def _draw_cone(
    cone: Cone, color: NDArray[np.float32], depth: NDArray[np.float32], light: NDArray[np.float64]
) -> None:
    centres = sample_position(cone.ends[:, :2])
    radii = np.asarray(cone.radii) * SUPERSAMPLING
    low = np.maximum(np.floor((centres - radii[:, None]).min(axis=0)).astype(int), 0)
    high = np.ceil((centres + radii[:, None]).max(axis=0)).astype(int) + 1
    window = (slice(low[1], max(high[1], 0)), slice(low[0], max(high[0], 0)))
    if depth[window].size == 0:
        return
    rows, columns = np.indices(depth[window].shape)
    x, y = columns + low[0] - centres[0, 0], rows + low[1] - centres[0, 1]
    along = centres[1] - centres[0]
    share = np.clip((x * along[0] + y * along[1]) / max(float(along @ along), 1e-9), 0, 1)
    radius = np.maximum(radii[0] + share * (radii[1] - radii[0]), 1e-6)
    normal_x, normal_y = (x - share * along[0]) / radius, (y - share * along[1]) / radius
    squared = normal_x**2 + normal_y**2
    bulge = np.sqrt(np.maximum(1 - squared, 0))
    z_px = cone.ends[0, 2] + share * (cone.ends[1, 2] - cone.ends[0, 2]) + bulge * radius / SUPERSAMPLING
    nearer = (squared < 1) & (z_px > depth[window])
    facing = cone.roundness * (normal_x * light[0] + normal_y * light[1])
    facing = facing + np.sqrt(np.maximum(1 - cone.roundness**2 * squared, 0)) * light[2]
    shade = _AMBIENT + (1 - _AMBIENT) * np.maximum(facing, 0)
    depth[window] = np.where(nearer, z_px, depth[window])
    lit = shade[..., None] * np.asarray(cone.color)
    color[window] = np.where(nearer[..., None], lit, color[window])
