"""Quantization of the real models: float16 changes nothing, and the hard int8 case is caught."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.host.data.coco import read_coco
from edgepose.host.evaluate.predictions import predict
from edgepose.host.evaluate.scoring import score
from edgepose.host.models.artifact import open_artifact
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest, QuantizationResult, recipe_for
from edgepose.pose.boxes import iou_matrix
from edgepose.records.device_profile import Precision, find_profile
from edgepose.records.lineage import RECIPES
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.open_model import open_detector, open_pipeline

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]


def quantize(
    shared_data: Path, tmp_path: Path, name: str, precision: Precision, recipe: str | None = None
) -> QuantizationResult:
    profile = find_profile("jetson")
    source = open_artifact(shared_data / "models" / f"{name}.onnx", Path(name))
    chosen = recipe_for(profile, precision) if recipe is None else RECIPES[recipe]
    request = QuantizationRequest.for_profile(profile, source, chosen, tmp_path / "out")
    return quantize_model(replace(request, calibration=shared_data / "coco_train"))


def oks_ap(shared_data: Path, model: Path, spec: Path | None = None) -> float:
    from edgepose.host.evaluate.average_precision import precision_figures

    folder = shared_data / "coco_val"
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    scores = score(predict(open_pipeline(model, spec), dataset), dataset)
    return float(precision_figures(scores.matches, np.ones((1, scores.images), np.int64)).oks_ap[0])


def test_float16_tinypose_is_half_the_size_and_as_accurate(shared_data: Path, tmp_path: Path) -> None:
    result = quantize(shared_data, tmp_path, "tinypose_256x192", "float16")
    source = shared_data / "models" / "tinypose_256x192.onnx"
    assert result.report.model.size_bytes < 0.6 * source.stat().st_size
    assert result.report.agreement_oks is not None
    assert result.report.agreement_oks > 0.999
    expected = oks_ap(shared_data, source, Path("tinypose_256x192"))
    assert oks_ap(shared_data, result.artifact.path) == pytest.approx(expected, abs=0.001)


def test_int8_tinypose_loses_accuracy_and_its_agreement_says_so(shared_data: Path, tmp_path: Path) -> None:
    result = quantize(shared_data, tmp_path, "tinypose_256x192", "int8", "static_wi8_ai8")
    report = result.report
    assert report.model.float_ops == {}
    assert report.model.precision == "int8"
    assert report.calibration is not None
    assert (report.calibration.crops, report.calibration.boxes_from) == (64, "labels")
    assert oks_ap(shared_data, result.artifact.path) < 0.55
    assert report.agreement_oks is not None
    assert report.agreement_oks < find_profile("jetson").budgets.min_agreement_oks
    worst = report.tensor_errors[0]
    assert worst.sqnr_db is not None
    assert worst.sqnr_db < 3


def test_float16_detector_finds_the_same_boxes(shared_data: Path, tmp_path: Path) -> None:
    result = quantize(shared_data, tmp_path, "yolox_nano", "float16")
    assert result.report.agreement_oks is None
    before = open_detector(shared_data / "models" / "yolox_nano.onnx", Path("yolox_nano"))
    after = open_detector(result.artifact.path)
    for path in list_image_files(shared_data / "coco_val" / "images")[:10]:
        image = read_image_rgb(path)
        expected, found = before.detect(image)[0], after.detect(image)[0]
        assert len(expected) == len(found)
        if len(expected):
            assert iou_matrix(expected, found).max(axis=1).min() > 0.97
