"""From labels and a model file to a report and a judgement, on real runtimes with known answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result

from edgepose.cli.evaluate import command
from edgepose.errors import ConfigError, GateFailedError, ModelError
from edgepose.host.data.coco import read_coco
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model, judge_evaluation
from edgepose.host.evaluate.gate import require_pass
from edgepose.host.evaluate.predictions import predict
from edgepose.pose.skeletons import COCO17
from edgepose.records.device_profile import find_profile
from edgepose.records.evaluation_report import EvaluationReport
from edgepose.records.lineage import LINEAGE_METADATA_KEY, Lineage, ParentModel, lineage_to_json
from edgepose.records.record import from_json, to_json
from edgepose.runtime.open_model import open_pipeline
from tests.support.constant_models import write_one_stage, write_top_down

PERSON = np.column_stack([np.linspace(5, 25, 17), np.linspace(5, 55, 17)])
OTHER = PERSON + np.array([30, 0])
FIGURES = ["oks_ap", "oks_ap50", "oks_ap75", "oks_ar", "pck@0.2"]


def write_set(folder: Path, images: int = 4, jitter_px: float = 0.0) -> EvaluationRequest:
    """Pictures of 64 x 64 with the same two persons, labelled with some jitter; the model is missing."""
    generator = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    labels: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO17.keypoint_names)}],
    }
    for image in range(1, images + 1):
        cv2.imwrite(str(folder / "images" / f"{image}.png"), generator.integers(0, 256, (64, 64, 3)))
        labels["images"].append({"id": image, "file_name": f"{image}.png", "width": 64, "height": 64})
        for points in (PERSON, OTHER):
            rows = np.column_stack([points + generator.normal(0, jitter_px, (1, 2)), np.full(17, 2)])
            labels["annotations"].append(
                {
                    "id": len(labels["annotations"]) + 1,
                    "image_id": image,
                    "category_id": 1,
                    "bbox": [*rows[:, :2].min(axis=0), *np.ptp(rows[:, :2], axis=0)],
                    "area": 530.0,
                    "iscrowd": 0,
                    "keypoints": rows.ravel().tolist(),
                    "num_keypoints": 17,
                }
            )
    (folder / "labels.json").write_text(json.dumps(labels))
    return EvaluationRequest(
        model=folder / "missing.onnx",
        annotations=folder / "labels.json",
        images=folder / "images",
        resamples=200,
    )


def edit_labels(request: EvaluationRequest, path: str, value: Any) -> None:
    labels = json.loads(request.annotations.read_text())
    *parents, last = path.split(".")
    target: Any = labels
    for name in parents:
        target = target[int(name)] if name.isdigit() else target[name]
    target[last] = value
    request.annotations.write_text(json.dumps(labels))


def one_stage(folder: Path, name: str, shift_px: float = 0.0, persons: int = 2) -> Path:
    points = [PERSON + shift_px, OTHER + shift_px][:persons]
    return write_one_stage(folder / name, points, [0.9, 0.8][:persons])


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def data_options(request: EvaluationRequest) -> list[object]:
    return ["--annotations", request.annotations, "--images", request.images]


def test_a_model_that_is_right_everywhere_scores_one(tmp_path: Path) -> None:
    request = replace(write_set(tmp_path), model=one_stage(tmp_path, "m.onnx"), slices=True)
    report = evaluate_model(request)
    assert list(report.metrics) == FIGURES
    assert all(figure.value == pytest.approx(1.0) for figure in report.metrics.values())
    assert report.metrics["oks_ap"].sample_count == 8
    assert report.dataset.boxes_from == "whole_image"
    assert list(report.per_keypoint) == list(COCO17.keypoint_names)
    assert sum(part.persons for name, part in report.slices.items() if name.startswith("size")) == 8
    assert (report.baseline, report.gate, report.detector) == (None, None, None)


def test_a_model_that_finds_one_of_two_has_half_the_recall(tmp_path: Path) -> None:
    report = evaluate_model(replace(write_set(tmp_path), model=one_stage(tmp_path, "m.onnx", persons=1)))
    assert report.metrics["oks_ar"].value == pytest.approx(0.5)
    assert report.metrics["pck@0.2"].value == pytest.approx(0.5, abs=0.1)


def test_the_report_survives_json_and_says_its_schema_first(tmp_path: Path) -> None:
    model = one_stage(tmp_path, "m.onnx")
    request = replace(write_set(tmp_path), model=model, baseline=model, slices=True)
    report = judge_evaluation(request, evaluate_model(request), find_profile("raspberrypi"))
    text = to_json(report)
    assert "NaN" not in text
    assert text.startswith('{"schema": "edgepose.evaluation/1"')
    assert from_json(text, EvaluationReport, "report") == report
    empty = json.loads(text)["slices"]["size_large"]["oks_ap"]
    assert empty == {"value": None, "interval_95": None, "sample_count": 0}


def test_an_equal_model_passes_the_gate(tmp_path: Path) -> None:
    request = write_set(tmp_path, images=20, jitter_px=1.0)
    request = replace(request, model=one_stage(tmp_path, "m.onnx"), baseline=one_stage(tmp_path, "f.onnx"))
    report = evaluate_model(replace(request, slices=True))
    assert report.baseline is not None
    assert report.baseline.delta["oks_ap"].value == 0.0
    assert report.baseline.delta["oks_ap"].interval_95 == (0.0, 0.0)
    require_pass_of(request, report)


def require_pass_of(request: EvaluationRequest, report: EvaluationReport) -> None:
    result = judge_evaluation(request, report, find_profile("raspberrypi4")).gate
    assert result is not None
    require_pass(result)


def test_a_worse_model_fails_the_gate(tmp_path: Path) -> None:
    request = write_set(tmp_path, images=20, jitter_px=0.5)
    worse = one_stage(tmp_path, "m.onnx", shift_px=3.0)
    request = replace(request, model=worse, baseline=one_stage(tmp_path, "f.onnx"))
    with pytest.raises(GateFailedError, match="against the float parent"):
        require_pass_of(request, evaluate_model(request))


def test_few_images_cannot_prove_that_nothing_was_lost(tmp_path: Path) -> None:
    request = write_set(tmp_path, images=6, jitter_px=1.5)
    pair = (one_stage(tmp_path, "a.onnx", shift_px=0.7), one_stage(tmp_path, "b.onnx", shift_px=-0.7))
    requests = [replace(request, model=m, baseline=b) for m, b in (pair, pair[::-1])]
    # Neither is better by design; the order in which the sample shows no loss is the one to judge.
    delta, chosen = max(
        ((evaluate_model(r).baseline.delta["oks_ap"].value, r) for r in requests), key=lambda item: item[0]
    )
    assert delta >= 0
    with pytest.raises(GateFailedError, match="more images"):
        require_pass_of(chosen, evaluate_model(chosen))


def with_lineage(model: Path) -> Path:
    """The same model, saying that it was made from another one."""
    parent = ParentModel(file_name="f.onnx", sha256="0" * 64, step="convert")
    lineage = Lineage(parents=(parent,), tools={}, precision="float32")
    loaded = onnx.load(model)
    entry = loaded.metadata_props.add()
    entry.key, entry.value = LINEAGE_METADATA_KEY, lineage_to_json(lineage)
    onnx.save(loaded, model)
    return model


def test_without_a_baseline_only_a_float_model_that_was_made_from_nothing_passes(tmp_path: Path) -> None:
    request = replace(write_set(tmp_path), model=one_stage(tmp_path, "m.onnx"))
    require_pass_of(request, evaluate_model(request))
    converted = replace(request, model=with_lineage(one_stage(tmp_path, "c.onnx")))
    with pytest.raises(GateFailedError, match="--baseline"):
        require_pass_of(converted, evaluate_model(converted))


def test_a_wrong_baseline_is_told_before_anything_runs(tmp_path: Path) -> None:
    calls: list[int] = []
    request = replace(
        write_set(tmp_path),
        model=one_stage(tmp_path, "m.onnx"),
        baseline=tmp_path / "nowhere.onnx",
        progress=lambda done, _total: calls.append(done),
    )
    with pytest.raises(ModelError, match="nowhere"):
        evaluate_model(request)
    assert calls == []


def test_a_model_that_gives_nan_is_refused(tmp_path: Path) -> None:
    nobody_knows = PERSON.copy()
    nobody_knows[3] = np.nan
    model = write_one_stage(tmp_path / "m.onnx", [nobody_knows], [0.9])
    with pytest.raises(ModelError, match="NaN"):
        evaluate_model(replace(write_set(tmp_path), model=model))


def test_crops_come_from_the_labels_one_for_each_person(tmp_path: Path) -> None:
    peaks = np.column_stack([np.arange(17) % 5, np.arange(17) % 7])
    request = write_set(tmp_path)
    dataset = read_coco(request.annotations, request.images)
    predictions = predict(open_pipeline(write_top_down(tmp_path / "m.onnx", peaks)), dataset)
    assert predictions.boxes_from == "labels"
    assert [list(owners) for owners in predictions.cut_from if owners is not None] == [[0, 1]] * 4


def test_a_model_with_other_keypoints_is_compared_on_the_shared_ones(tmp_path: Path) -> None:
    names = ("tail", "nose", "left_hip")
    model = write_top_down(tmp_path / "m.onnx", np.array([[1, 1], [2, 2], [3, 3]]), names=names)
    report = evaluate_model(replace(write_set(tmp_path), model=model))
    assert report.dataset.keypoints == ("nose", "left_hip")
    assert report.dataset.keypoints_of_data == 17
    assert list(report.per_keypoint) == ["nose", "left_hip"]


def test_a_model_without_a_common_keypoint_is_refused(tmp_path: Path) -> None:
    model = write_top_down(tmp_path / "m.onnx", np.array([[1, 1]]), names=("tail",))
    with pytest.raises(ConfigError, match="no keypoint name in common"):
        evaluate_model(replace(write_set(tmp_path), model=model))


def test_a_baseline_with_other_keypoints_is_refused(tmp_path: Path) -> None:
    other = write_top_down(tmp_path / "b.onnx", np.array([[1, 1]]), names=("nose",))
    request = replace(write_set(tmp_path), model=one_stage(tmp_path, "m.onnx"), baseline=other)
    with pytest.raises(ConfigError, match="same keypoints"):
        evaluate_model(request)


def test_a_detector_for_a_model_of_whole_pictures_is_refused(tmp_path: Path) -> None:
    class Unused:
        pass

    request = write_set(tmp_path)
    pipeline = open_pipeline(one_stage(tmp_path, "m.onnx"))
    with pytest.raises(ConfigError, match="--detector"):
        predict(pipeline, read_coco(request.annotations, request.images), Unused())  # type: ignore[arg-type]


def test_pictures_that_are_not_the_labelled_ones_are_refused(tmp_path: Path) -> None:
    request = replace(write_set(tmp_path), model=one_stage(tmp_path, "m.onnx"))
    edit_labels(request, "images.0.width", 128)
    with pytest.raises(ConfigError, match="128 x 64"):
        evaluate_model(request)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    request = replace(write_set(tmp_path), model=one_stage(tmp_path, "m.onnx"))
    (request.images / "2.png").write_bytes(b"no picture")
    with pytest.raises(ConfigError, match=r"2\.png"):
        evaluate_model(request)


def test_labels_of_nobody_with_keypoints_measure_nothing(tmp_path: Path) -> None:
    request = replace(write_set(tmp_path, images=1), model=one_stage(tmp_path, "m.onnx"))
    for index in (0, 1):
        edit_labels(request, f"annotations.{index}.keypoints", [0] * 51)
        edit_labels(request, f"annotations.{index}.num_keypoints", 0)
    with pytest.raises(ConfigError, match="nothing can be measured"):
        evaluate_model(request)


def test_progress_runs_to_the_end_over_both_models(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    model = one_stage(tmp_path, "m.onnx")
    request = replace(write_set(tmp_path), model=model, baseline=model)
    evaluate_model(replace(request, progress=lambda done, total: calls.append((done, total))))
    assert calls == [(done, 8) for done in range(1, 9)]


def test_cli_prints_a_table_and_warns_about_what_was_left_out(tmp_path: Path) -> None:
    request = write_set(tmp_path)
    (request.images / "4.png").rename(request.images / "new.png")
    result = evaluate(one_stage(tmp_path, "m.onnx"), *data_options(request), "--slices")
    assert result.exit_code == 0, result.output
    for word in (*FIGURES, "left_hip", "crowding_near", "6 persons in 3 pictures"):
        assert word in result.stdout
    assert "2 labels have no picture, 1 pictures have no label" in result.stderr


def test_cli_json_to_standard_output_is_only_json(tmp_path: Path) -> None:
    request = write_set(tmp_path)
    result = evaluate(one_stage(tmp_path, "m.onnx"), *data_options(request), "--json", "-")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["metrics"]["oks_ap"]["value"] == pytest.approx(1.0)


def test_cli_failed_gate_raises_after_the_report_was_written(tmp_path: Path) -> None:
    request = write_set(tmp_path, images=20, jitter_px=0.5)
    worse, good = one_stage(tmp_path, "m.onnx", shift_px=3.0), one_stage(tmp_path, "f.onnx")
    target = tmp_path / "report.json"
    options = [*data_options(request), "--baseline", good, "--profile", "raspberrypi", "--gate"]
    result = evaluate(worse, *options, "--json", target)
    assert isinstance(result.exception, GateFailedError)
    written = json.loads(target.read_text())
    assert written["gate"]["passed"] is False
    assert written["gate"]["failures"][0]["name"] == "oks_ap_drop"
    assert written["baseline"]["delta"]["oks_ap"]["value"] < -0.1
    assert any(part["gated"] for part in written["slices"].values())
    passed = evaluate(good, *options)
    assert passed.exit_code == 0, passed.output
    assert "passed" in passed.stdout


def test_cli_never_writes_a_report_over_a_model(tmp_path: Path) -> None:
    model = one_stage(tmp_path, "m.onnx")
    before = model.read_bytes()
    result = evaluate(model, *data_options(write_set(tmp_path)), "--json", model)
    assert result.exit_code == 2
    assert "must end in .json" in result.output
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "named"),
    [(["--gate"], "--profile"), (["--detector-spec", "x.toml"], "--detector")],
)
def test_cli_options_that_need_another_one_say_so(tmp_path: Path, options: list[str], named: str) -> None:
    result = evaluate(one_stage(tmp_path, "m.onnx"), *data_options(write_set(tmp_path)), *options)
    assert result.exit_code == 2
    assert named in result.output


def test_cli_help_has_an_example() -> None:
    assert "Example: edgepose evaluate" in evaluate("--help").output
