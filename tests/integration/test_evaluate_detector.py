"""``edgepose evaluate`` of a person detector, on a detector whose answers are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgepose.cli.evaluate import command
from edgepose.cli.models import command as models
from edgepose.errors import ConfigError
from edgepose.records.evaluation_report import DetectorEvaluationReport
from edgepose.records.record import from_builtins
from tests.support.pictures import write_pictures


def evaluate(detector: Path, spec: Path, data: Path, *more: object) -> Result:
    labels = ["--annotations", data / "person_keypoints.json", "--images", data / "images"]
    call = [detector, "--spec", spec, *labels, *more]
    return CliRunner().invoke(command, [str(argument) for argument in call])


def test_boxes_are_measured_and_false_persons_counted(
    marker_detector_onnx: Path, marker_detector_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    empty, record = write_pictures(tmp_path / "empty", 3), tmp_path / "r.json"
    result = evaluate(
        marker_detector_onnx, marker_detector_spec, marker_set, "--empty", empty, "--json", record
    )
    assert result.exit_code == 0, result.exception
    report = from_builtins(json.loads(record.read_text()), DetectorEvaluationReport, "report")
    assert report.figures.persons > 0
    assert (report.figures.recall or 0) > 0.9
    assert (report.figures.box_ap50 or 0) > 0.9
    assert report.empty is not None
    assert report.empty.images == 3


def test_labels_of_other_pictures_give_a_bad_figure(
    marker_detector_onnx: Path, marker_detector_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    labels = json.loads((marker_set / "person_keypoints.json").read_text())
    for one in labels["annotations"]:
        one["bbox"] = [0, 0, 4, 4]
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(labels))
    record = tmp_path / "r.json"
    result = evaluate(
        marker_detector_onnx, marker_detector_spec, marker_set, "--annotations", wrong, "--json", record
    )
    assert result.exit_code == 0, result.exception
    assert json.loads(record.read_text())["figures"]["recall"] == 0


@pytest.mark.parametrize("option", ["--slices", "--baseline"])
def test_options_of_pose_models_are_refused(
    marker_detector_onnx: Path, marker_detector_spec: Path, marker_set: Path, option: str
) -> None:
    more = [option, marker_detector_onnx] if option == "--baseline" else [option]
    result = evaluate(marker_detector_onnx, marker_detector_spec, marker_set, *more)
    assert isinstance(result.exception, ConfigError)
    assert "is a person detector" in str(result.exception)


def test_pictures_without_persons_are_refused_for_a_pose_model(
    marker_onnx: Path, marker_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    result = evaluate(marker_onnx, marker_spec, marker_set, "--empty", tmp_path)
    assert result.exit_code == 2
    assert "--empty is for detectors" in result.output


def test_a_card_shows_what_the_detector_finds(
    marker_detector_onnx: Path, marker_detector_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    record, card = tmp_path / "r.json", tmp_path / "CARD.md"
    assert evaluate(marker_detector_onnx, marker_detector_spec, marker_set, "--json", record).exit_code == 0
    call = ["card", marker_detector_onnx, "--evaluation", record, "-o", card]
    result = CliRunner().invoke(models, [str(argument) for argument in call])
    assert result.exit_code == 0, result.exception
    text = card.read_text(encoding="utf-8")
    # The file carries no spec, so that the card cannot know it as a detector.
    assert "edgepose.detector_evaluation/1" in text
