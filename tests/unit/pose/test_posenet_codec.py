"""PoseNet: the highest cell plus the offset stored there."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.errors import ModelError
from edgepose.pose.codecs.posenet import PosenetCodec

KEYPOINTS = 3
CODEC = PosenetCodec(KEYPOINTS, input_wh=(49, 33))


def _outputs() -> dict[str, np.ndarray]:
    """A 3x4 map over 49x33 pixels, so 16 pixels a cell; keypoint k sits in cell (x=k, y=1)."""
    heatmaps = np.full((1, 3, 4, KEYPOINTS), -5.0, np.float32)
    offsets = np.zeros((1, 3, 4, 2 * KEYPOINTS), np.float32)
    for k in range(KEYPOINTS):
        heatmaps[0, 1, k, k] = 2.0
        offsets[0, 1, k, k] = 3.0  # y
        offsets[0, 1, k, KEYPOINTS + k] = -2.0  # x
    return {"heat": heatmaps, "short": offsets, "mid": np.zeros((1, 3, 4, 64), np.float32)}


def test_position_is_cell_times_stride_plus_offset() -> None:
    poses = CODEC.decode(_outputs())
    expected = [[16.0 * k - 2.0, 16.0 + 3.0] for k in range(KEYPOINTS)]
    np.testing.assert_allclose(poses.keypoints_input_px[0], expected, atol=1e-5)


def test_score_is_the_sigmoid_of_the_highest_logit() -> None:
    np.testing.assert_allclose(CODEC.decode(_outputs()).keypoint_scores, 1 / (1 + np.exp(-2.0)), rtol=1e-6)


def test_missing_offsets_are_refused() -> None:
    outputs = _outputs()
    del outputs["short"]
    with pytest.raises(ModelError, match=r"\(1, h, w, 6\)"):
        CODEC.decode(outputs)


def test_nan_is_refused() -> None:
    outputs = _outputs()
    outputs["heat"][0, 0, 0, 0] = np.nan
    with pytest.raises(ModelError, match="NaN"):
        CODEC.decode(outputs)
