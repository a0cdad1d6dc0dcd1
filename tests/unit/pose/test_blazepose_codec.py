"""BlazePose: coordinates, visibility and a person score."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.errors import ModelError
from edgepose.pose.codecs.blazepose import BlazePoseCodec

CODEC = BlazePoseCodec(33)


def _outputs(person_score: float) -> dict[str, np.ndarray]:
    rows = np.zeros((39, 5), np.float32)
    rows[:, 0], rows[:, 1] = np.arange(39), 2 * np.arange(39)
    rows[:, 3] = 4.0
    return {"Identity": rows.reshape(1, 195), "Identity_1": np.array([[person_score]], np.float32)}


def test_first_33_points_are_taken_in_input_pixels() -> None:
    poses = CODEC.decode(_outputs(1.0))
    np.testing.assert_array_equal(poses.keypoints_input_px[0, :, 0], np.arange(33))
    np.testing.assert_array_equal(poses.keypoints_input_px[0, :, 1], 2 * np.arange(33))


def test_keypoint_score_is_visibility_times_person_score() -> None:
    visible = 1 / (1 + np.exp(-4.0))
    np.testing.assert_allclose(CODEC.decode(_outputs(0.5)).keypoint_scores, 0.5 * visible, rtol=1e-6)


def test_visible_points_of_nobody_score_nothing() -> None:
    assert CODEC.decode(_outputs(0.0)).keypoint_scores.max() == 0


@pytest.mark.parametrize("missing", ["Identity", "Identity_1"])
def test_missing_output_is_refused(missing: str) -> None:
    outputs = _outputs(1.0)
    del outputs[missing]
    with pytest.raises(ModelError, match="BlazePose needs"):
        CODEC.decode(outputs)


def test_too_few_points_are_refused() -> None:
    outputs = _outputs(1.0)
    outputs["few"] = np.zeros((1, 100), np.float32)
    with pytest.raises(ModelError, match="at least 33"):
        BlazePoseCodec(33, output="few").decode(outputs)
