"""Agreement compares what the float parent is sure of, on real runtimes with known answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ModelError
from edgepose.host.evaluate.agreement import mean_agreement_oks
from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_between
from edgepose.pose.skeletons import COCO17
from edgepose.runtime.open_model import open_pipeline
from tests.support.constant_models import write_one_stage, write_top_down

PICTURE = np.full((64, 64, 3), 100, np.uint8)
# Grown by 1.25 this is the whole picture, so one heatmap cell is 4 pixels.
BOX = np.array([6.4, 6.4, 57.6, 57.6])
BOX_AREA_PX2 = float(51.2**2) * BOX_TO_MASK_AREA
PEAKS = np.column_stack([np.arange(17) % 5 + 5, np.arange(17) % 7 + 4])
PERSON = np.column_stack([np.linspace(5, 25, 17), np.linspace(5, 55, 17)])
RIGHT = np.array([1, 0])
OTHER = PERSON + np.array([30, 0])


def agreement(first: Path, second: Path, box: np.ndarray | None = BOX, count: int = 1):  # noqa: ANN201
    return mean_agreement_oks(open_pipeline(first), open_pipeline(second), [(PICTURE, box)] * count)


def test_a_model_agrees_with_itself(tmp_path: Path) -> None:
    model = write_top_down(tmp_path / "a.onnx", PEAKS)
    report = agreement(model, model, count=3)
    assert (report.mean_oks, report.worst_oks, report.poses, report.samples) == (1.0, 1.0, 3, 3)


def test_a_shift_costs_exactly_its_oks(tmp_path: Path) -> None:
    first = write_top_down(tmp_path / "a.onnx", PEAKS)
    second = write_top_down(tmp_path / "b.onnx", PEAKS + RIGHT)
    expected = oks_between(PEAKS * 4.0, (PEAKS + RIGHT) * 4.0, BOX_AREA_PX2, COCO17.sigmas)
    assert agreement(first, second).mean_oks == pytest.approx(expected, abs=1e-6)
    assert expected < 0.95


def test_keypoints_that_the_parent_only_guesses_do_not_count(tmp_path: Path) -> None:
    heights = np.full(17, 0.9)
    heights[3:6] = 0.1
    moved = PEAKS.copy()
    moved[3:6] = [1, 1]
    first = write_top_down(tmp_path / "a.onnx", PEAKS, heights)
    assert agreement(first, write_top_down(tmp_path / "b.onnx", moved)).mean_oks == 1.0
    moved[0] = [1, 1]
    assert agreement(first, write_top_down(tmp_path / "c.onnx", moved)).mean_oks == pytest.approx(
        13 / 14, abs=1e-3
    )


def test_without_a_confident_pose_there_is_no_figure(tmp_path: Path) -> None:
    unsure = write_top_down(tmp_path / "a.onnx", PEAKS, np.full(17, 0.19))
    report = agreement(unsure, unsure)
    assert (report.mean_oks, report.worst_oks, report.poses, report.samples) == (None, None, 0, 1)


def test_without_samples_there_is_no_figure(tmp_path: Path) -> None:
    model = write_top_down(tmp_path / "a.onnx", PEAKS)
    assert agreement(model, model, count=0).mean_oks is None


def test_persons_are_matched_by_resemblance_not_by_order(tmp_path: Path) -> None:
    first = write_one_stage(tmp_path / "a.onnx", [PERSON, OTHER], [0.9, 0.5])
    second = write_one_stage(tmp_path / "b.onnx", [PERSON, OTHER], [0.5, 0.9])
    report = agreement(first, second, box=None)
    assert (report.mean_oks, report.poses) == (pytest.approx(1.0), 2)


def test_a_person_that_the_shipped_model_misses_counts_zero(tmp_path: Path) -> None:
    first = write_one_stage(tmp_path / "a.onnx", [PERSON, OTHER], [0.9, 0.5])
    second = write_one_stage(tmp_path / "b.onnx", [PERSON], [0.9])
    report = agreement(first, second, box=None)
    assert report.mean_oks == pytest.approx(0.5, abs=1e-3)
    assert report.worst_oks == pytest.approx(0.0, abs=1e-3)


def test_models_with_other_keypoints_are_not_compared(tmp_path: Path) -> None:
    first = write_top_down(tmp_path / "a.onnx", PEAKS)
    second = write_top_down(tmp_path / "b.onnx", PEAKS[:3], names=COCO17.keypoint_names[:3])
    with pytest.raises(ModelError, match="different keypoints"):
        agreement(first, second)


def test_a_model_that_gives_nan_is_refused(tmp_path: Path) -> None:
    first = write_top_down(tmp_path / "a.onnx", PEAKS)
    second = write_top_down(tmp_path / "b.onnx", PEAKS, np.full(17, np.nan))
    with pytest.raises(ModelError, match="NaN"):
        agreement(first, second)
