"""What the detector student should answer in one view."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.codecs.center import CenterCodec

# Columns of a packed target, one row a cell.
HEAT, HEAT_WEIGHT, BOX_WEIGHT, BOX = 0, 1, 2, slice(3, 7)
COLUMNS = 7
# A Gaussian of this share of the box's sides, so that its 0.6 lies about where a shifted box has IoU 0.7.
_SIGMA_OF_SIDE = 0.12
_SMALLEST_SIGMA_CELLS = 0.6
_NEAR = 0.5

Boxes = NDArray[np.float64]


def packed_target(
    boxes_input_px: Boxes, unsure_input_px: Boxes, codec: CenterCodec, map_wh: tuple[int, int]
) -> NDArray[np.float32]:
    """Target of one view.

    Args:
        boxes_input_px: (N, 4), persons.
        unsure_input_px: (M, 4): cells in there teach nothing about where centres are.
        codec: Its ``encode`` says what a cell must answer.
        map_wh: Size of the maps.

    Returns:
        (h * w, 7) float32: how near a centre is (1 at its cell), whether that counts, whether the box
        counts, and the box as the codec has it.
    """
    width, height = map_wh
    target = np.zeros((height, width, COLUMNS), np.float32)
    target[..., HEAT_WEIGHT] = 1
    cell_px = np.array([codec.input_wh[0] / width, codec.input_wh[1] / height])
    for low_x, low_y, high_x, high_y in unsure_input_px / np.tile(cell_px, 2):
        rows = slice(max(int(low_y), 0), max(int(np.ceil(high_y)), 0))
        target[rows, max(int(low_x), 0) : max(int(np.ceil(high_x)), 0), HEAT_WEIGHT] = 0
    # Large ones first: where two persons meet, the smaller one owns the cell.
    sides = (boxes_input_px[:, 2:] - boxes_input_px[:, :2]).prod(axis=1)
    for box in boxes_input_px[np.argsort(-sides, kind="stable")]:
        _add(target, box, codec, cell_px)
    return target.reshape(-1, COLUMNS)


def _add(target: Any, box: Boxes, codec: CenterCodec, cell_px: NDArray[np.float64]) -> None:
    height, width = target.shape[:2]
    centre = (box[:2] + box[2:]) / 2 / cell_px
    sigma = np.maximum((box[2:] - box[:2]) / cell_px * _SIGMA_OF_SIDE, _SMALLEST_SIGMA_CELLS)
    own = np.minimum(np.maximum(centre.astype(int), 0), [width - 1, height - 1])
    # Measured from the owning cell, so that exactly one cell is 1.
    across = np.exp(-(((np.arange(width) - own[0]) / sigma[0]) ** 2) / 2)
    down = np.exp(-(((np.arange(height) - own[1]) / sigma[1]) ** 2) / 2)
    near = np.outer(down, across)
    rows, columns = np.nonzero((near >= _NEAR) & (near >= target[..., BOX_WEIGHT]))
    target[..., HEAT] = np.maximum(target[..., HEAT], near)
    target[own[1], own[0], HEAT_WEIGHT] = 1
    cells = np.stack([columns, rows], axis=-1)
    encoded = codec.encode(np.repeat(box[None], len(cells), axis=0), cells, (width, height))
    target[rows, columns, BOX] = encoded
    target[rows, columns, BOX_WEIGHT] = near[rows, columns]
