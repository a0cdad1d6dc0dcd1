"""Figures on real models and pictures: the ones measured independently, and damage that must be seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgepose.errors import EdgeposeError, GateFailedError, ModelError
from edgepose.host.data.coco import read_coco
from edgepose.host.evaluate.agreement import mean_agreement_oks
from edgepose.host.evaluate.average_precision import precision_figures
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model, judge_evaluation
from edgepose.host.evaluate.figures import interval_95, resample_weights
from edgepose.host.evaluate.gate import Evidence, judge, require_pass
from edgepose.host.evaluate.predictions import EVALUATION_SCORE_THRESHOLD, Predictions, predict
from edgepose.host.evaluate.scoring import score
from edgepose.records.device_profile import find_profile
from edgepose.records.files import packaged_folder
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.open_model import open_detector, open_pipeline
from tests.property.test_precision_oracle import ours, theirs

pytestmark = [pytest.mark.shared_data, pytest.mark.slow]
SIZES = ("256x192", "128x96")


def spec_of(name: str) -> Path:
    return packaged_folder("model_specs") / f"{name}.toml"


def request_for(shared_data: Path, model: Path, size: str = "128x96") -> EvaluationRequest:
    return EvaluationRequest(
        model=model,
        annotations=shared_data / "coco_val" / "person_keypoints.json",
        images=shared_data / "coco_val" / "images",
        spec_file=spec_of(f"tinypose_{size}"),
    )


def tinypose(shared_data: Path, size: str) -> Path:
    return shared_data / "models" / f"tinypose_{size}.onnx"


def predicted(shared_data: Path, size: str, with_detector: bool) -> Predictions:
    folder, models = shared_data / "coco_val", shared_data / "models"
    detector = open_detector(
        models / "yolox_nano.onnx", spec_of("yolox_nano"), score_threshold=EVALUATION_SCORE_THRESHOLD
    )
    pipeline = open_pipeline(tinypose(shared_data, size), spec_of(f"tinypose_{size}"))
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    return predict(pipeline, dataset, detector if with_detector else None)


@pytest.mark.parametrize(
    ("size", "ap", "ap50", "ap75", "ar"),
    [("256x192", 0.630, 0.859, 0.696, 0.668), ("128x96", 0.539, 0.837, 0.575, 0.587)],
)
def test_tinypose_has_the_measured_figures_in_labelled_boxes(
    shared_data: Path, size: str, ap: float, ap50: float, ap75: float, ar: float
) -> None:
    report = evaluate_model(request_for(shared_data, tinypose(shared_data, size), size))
    found = [report.metrics[name].value for name in ("oks_ap", "oks_ap50", "oks_ap75", "oks_ar")]
    assert found == pytest.approx([ap, ap50, ap75, ar], abs=0.005)
    low, high = report.metrics["oks_ap"].interval_95 or (0.0, 0.0)
    assert low < ap < high
    assert 0.05 < high - low < 0.15
    assert report.metrics["oks_ap"].sample_count == 306


@pytest.mark.parametrize("with_detector", [False, True])
def test_real_detections_score_as_in_pycocotools(shared_data: Path, with_detector: bool) -> None:
    folder = shared_data / "coco_val"
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    predictions = predicted(shared_data, "128x96", with_detector)
    np.testing.assert_allclose(ours(dataset, predictions), theirs(dataset, predictions), rtol=0, atol=1e-9)


def test_the_detector_costs_what_it_misses(shared_data: Path) -> None:
    folder = shared_data / "coco_val"
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    found = predicted(shared_data, "256x192", with_detector=True)
    once = np.ones((1, len(dataset.images)), dtype=np.int64)
    ap = precision_figures(score(found, dataset).matches, once).oks_ap[0]
    assert ap == pytest.approx(0.547, abs=0.01)


def test_the_paired_interval_is_much_tighter_than_that_of_independent_draws(
    shared_data: Path, tmp_path: Path
) -> None:
    """The same model decoded in two ways: almost equal, so a paired interval must see the difference."""
    folder = shared_data / "coco_val"
    dataset = read_coco(folder / "person_keypoints.json", folder / "images")
    quarter = tmp_path / "quarter.toml"
    quarter.write_text(spec_of("tinypose_128x96").read_text().replace('"dark"', '"quarter"'))
    model = tinypose(shared_data, "128x96")
    tables = [
        score(predict(open_pipeline(model, spec), dataset), dataset).matches
        for spec in (spec_of("tinypose_128x96"), quarter)
    ]
    draws = [resample_weights(len(dataset.images), seed=seed) for seed in (1, 2)]
    first, paired = (precision_figures(table, draws[0]).oks_ap for table in tables)
    independent = precision_figures(tables[1], draws[1]).oks_ap
    widths = []
    for other in (paired, independent):
        low, high = interval_95(first - other) or (0.0, 0.0)
        widths.append(high - low)
    assert widths[0] < widths[1] / 3


def damaged(model: Path, target: Path, change: str) -> Path:
    """TinyPose with the weights of its last large layer shuffled, or one weight made NaN."""
    loaded = onnx.load(model)
    largest = max(loaded.graph.initializer, key=lambda tensor: numpy_helper.to_array(tensor).size)
    values = numpy_helper.to_array(largest).copy()
    if change == "shuffled":
        values = np.random.default_rng(0).permutation(values.ravel()).reshape(values.shape)
    else:
        values.ravel()[:] = np.nan
    largest.CopyFrom(numpy_helper.from_array(values, largest.name))
    onnx.save(loaded, target)
    return target


def test_negative_control_shuffled_weights_fail_the_gate(shared_data: Path, tmp_path: Path) -> None:
    good = tinypose(shared_data, "128x96")
    bad = damaged(good, tmp_path / "bad.onnx", "shuffled")
    request = replace(request_for(shared_data, bad), baseline=good, slices=True)
    report = judge_evaluation(request, evaluate_model(request), find_profile("raspberrypi"))
    assert report.gate is not None
    assert "oks_ap_drop" in [failure.name for failure in report.gate.failures]
    with pytest.raises(GateFailedError):
        require_pass(report.gate)


def test_positive_control_the_same_model_passes_the_gate_in_every_slice(shared_data: Path) -> None:
    good = tinypose(shared_data, "128x96")
    request = replace(request_for(shared_data, good), baseline=good, slices=True)
    report = judge_evaluation(request, evaluate_model(request), find_profile("raspberrypi"))
    assert report.gate is not None
    require_pass(report.gate)
    assert sum(part.gated for part in report.slices.values()) > 10


def test_negative_control_a_model_with_nan_weights_is_refused(shared_data: Path, tmp_path: Path) -> None:
    bad = damaged(tinypose(shared_data, "128x96"), tmp_path / "bad.onnx", "nan")
    with pytest.raises(ModelError, match="NaN"):
        evaluate_model(request_for(shared_data, bad))


def test_agreement_without_labels_tells_good_from_bad(shared_data: Path, tmp_path: Path) -> None:
    good, spec = tinypose(shared_data, "128x96"), spec_of("tinypose_128x96")
    bad = damaged(good, tmp_path / "bad.onnx", "shuffled")
    pictures = [
        read_image_rgb(path) for path in sorted((shared_data / "coco_train" / "images").glob("*.jpg"))[:12]
    ]
    detector = open_detector(shared_data / "models" / "yolox_nano.onnx", spec_of("yolox_nano"))
    samples = [(picture, box) for picture in pictures for box in detector.detect(picture)[0]]
    assert samples
    profile = find_profile("raspberrypi")
    results = {}
    for name, model in (("good", good), ("bad", bad)):
        agreement = mean_agreement_oks(open_pipeline(good, spec), open_pipeline(model, spec), samples)
        results[name] = judge(profile, Evidence(agreement=agreement))
    assert results["good"].passed
    assert [failure.name for failure in results["bad"].failures] == ["agreement_oks"]


def test_a_foreign_model_without_a_spec_is_refused_with_what_to_do(shared_data: Path) -> None:
    request = replace(request_for(shared_data, tinypose(shared_data, "128x96")), spec_file=None)
    with pytest.raises(EdgeposeError, match="--spec"):
        evaluate_model(request)
