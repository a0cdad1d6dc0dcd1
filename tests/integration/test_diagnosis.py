"""Planted trouble is named with its reason, a healthy model has no outlier, TinyPose's culprits are found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.data.calibration_set import RepresentativeInputs, calibration_crops
from edgepose.host.data.data_folder import open_data_folder
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.audit import AuditedOp
from edgepose.host.quantize.diagnosis.diagnosis import Diagnosis, choose_layers, describe, diagnose
from edgepose.host.quantize.diagnosis.fake_quantization import open_roundable
from edgepose.host.quantize.diagnosis.findings import find_culprits, find_suspects
from edgepose.host.quantize.diagnosis.layers import Subject, layers_of
from edgepose.host.quantize.onnx_quantizer import prepare_onnx
from edgepose.host.quantize.tensor_ranges import ranges_of
from edgepose.records.model_spec import ModelSpec
from edgepose.runtime.activation_statistics import collect_statistics, open_float_tensors
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import open_backend
from tests.support.zoo import plant
from tests.support.zoo.catalogue import ZOO

ZooModel = Callable[[str], Path]
CROPS = 8


def subject_of(model: Path, spec: ModelSpec, folder: Path, scratch: Path) -> Subject:
    """The prepared ONNX model with its statistics, or a TFLite model as it is."""
    path = scratch / "subject"
    path.write_bytes(_prepared(model))
    crops = calibration_crops(open_data_folder(folder), CROPS, 0, whole_images=not spec.uses_person_boxes)
    inputs = RepresentativeInputs(spec.input, open_backend(path).input, crops.samples)
    statistics = collect_statistics(open_float_tensors(path), inputs)
    return Subject(path.read_bytes(), spec, statistics, ranges_of(statistics, "average"), crops.held_out)


def _prepared(model: Path) -> bytes:
    if model.suffix == ".tflite":
        return model.read_bytes()
    return bytes(prepare_onnx(model).SerializeToString())


def kinds(diagnosis: Diagnosis) -> dict[str, str]:
    return {culprit.tensor: culprit.kind for culprit in diagnosis.culprits}


def test_outlier_channel_is_named_first_with_its_channel(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    healthy = zoo_model("shuffle_heatmap")
    place = plant.ill_places(healthy, folded=True)[0]
    ill = plant.scale_channel(healthy, tmp_path / "ill.onnx", place, 3)
    found = diagnose(subject_of(ill, ZOO["shuffle_heatmap"].spec, marker_set, tmp_path), most_layers=8)
    worst = found.culprits[0]
    assert (worst.tensor, worst.kind) == (place, "outlier_channel")
    assert worst.reason.startswith("channel 3 reaches ")
    assert "31 of 32 channels have under 8 of 256 steps" in worst.reason
    assert worst.oks_loss is not None
    assert worst.oks_loss > 0.5
    assert found.layers[0].layer == place
    assert f"1. outlier_channel: Conv '{place}'" in describe(found)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shuffle_heatmap", "mobile_heatmap", "silu_heatmap", "multibranch_heatmap"])
def test_healthy_model_has_no_outlier_no_shared_scale_and_no_dead_range(
    zoo_model: ZooModel, name: str, marker_set: Path, tmp_path: Path
) -> None:
    found = diagnose(subject_of(zoo_model(name), ZOO[name].spec, marker_set, tmp_path), most_layers=12)
    assert set(kinds(found).values()) <= {"sensitive"}
    assert len(found.layers) == 12


@pytest.mark.slow
def test_tflite_file_has_the_same_culprit_as_its_onnx_source(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    healthy = zoo_model("shuffle_heatmap")
    place = plant.ill_places(healthy, folded=True)[0]
    ill = plant.scale_channel(healthy, tmp_path / "ill.onnx", place, 3)
    converted = tmp_path / "ill.tflite"
    convert_model(ConversionRequest(open_artifact(ill, None), "tflite", converted))
    expected, found = (
        diagnose(subject_of(model, load_spec(model, None), marker_set, tmp_path), most_layers=6)
        for model in (ill, converted)
    )
    assert found.culprits[0].kind == "outlier_channel"
    assert found.culprits[0].reason == expected.culprits[0].reason
    assert found.culprits[0].oks_loss == pytest.approx(expected.culprits[0].oks_loss, abs=0.02)


def test_dead_channels_are_no_culprits(zoo_model: ZooModel, marker_set: Path, tmp_path: Path) -> None:
    healthy = zoo_model("shuffle_heatmap")
    place = plant.ill_places(healthy, folded=True)[0]
    ill = plant.add_dead_channels(healthy, tmp_path / "ill.onnx", place, 8)
    found = diagnose(subject_of(ill, ZOO["shuffle_heatmap"].spec, marker_set, tmp_path), most_layers=4)
    assert place not in kinds(found)


def test_joined_unlike_halves_are_named_as_shared_scale(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    healthy = zoo_model("shuffle_heatmap")
    ill = plant.concat_unlike(healthy, tmp_path / "ill.onnx", plant.ill_places(healthy)[-1])
    found = diagnose(subject_of(ill, ZOO["shuffle_heatmap"].spec, marker_set, tmp_path), most_layers=8)
    assert found.culprits[0].kind == "shared_scale"
    assert found.culprits[0].tensor.startswith("planted_unlike")
    assert "joins 0.." in found.culprits[0].reason
    # The convolution that reads both has weights as unlike as its inputs.
    heads = [culprit for culprit in found.culprits if culprit.tensor == "heatmaps"]
    assert "weights with under 8 of 127 steps" in heads[0].reason


@pytest.mark.slow
def test_output_of_yolo_pose_is_named_as_shared_scale(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    subject = subject_of(zoo_model("yolo_pose"), ZOO["yolo_pose"].spec, marker_set, tmp_path)
    found = diagnose(subject, most_layers=6)
    assert kinds(found)["poses"] == "shared_scale"


def test_values_far_from_zero_are_a_dead_range(zoo_model: ZooModel, marker_set: Path, tmp_path: Path) -> None:
    ill = plant.unsavable(zoo_model("shuffle_heatmap"), tmp_path / "ill.onnx")
    found = diagnose(subject_of(ill, ZOO["shuffle_heatmap"].spec, marker_set, tmp_path), most_layers=4)
    assert found.culprits[0].kind == "dead_range"
    assert "its scale must reach 0 as well" in found.culprits[0].reason
    # What the maximum behind it hands on is not named again.
    assert not [culprit for culprit in found.culprits if culprit.op == "Max"]


def test_without_crops_the_ranges_speak_for_themselves(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    healthy = zoo_model("shuffle_heatmap")
    place = plant.ill_places(healthy, folded=True)[0]
    ill = plant.scale_channel(healthy, tmp_path / "ill.onnx", place, 3)
    subject = subject_of(ill, ZOO["shuffle_heatmap"].spec, marker_set, tmp_path)
    found = diagnose(replace(subject, crops=()))
    assert found.layers == ()
    assert [(c.tensor, c.kind, c.oks_loss) for c in found.culprits] == [(place, "outlier_channel", None)]


def test_ops_left_in_float_come_last(zoo_model: ZooModel, marker_set: Path, tmp_path: Path) -> None:
    healthy = zoo_model("shuffle_heatmap")
    place = plant.ill_places(healthy, folded=True)[0]
    ill = plant.scale_channel(healthy, tmp_path / "ill.onnx", place, 3)
    subject = subject_of(ill, ZOO["shuffle_heatmap"].spec, marker_set, tmp_path)
    suspects = find_suspects(open_roundable(subject.model).network, subject.statistics, subject.ranges)
    found = find_culprits(suspects, (), [AuditedOp("Erf", "erf_1", ("erf_1_out",))])
    assert [culprit.kind for culprit in found] == ["outlier_channel", "unsupported_op"]
    assert found[-1].tensor == "erf_1_out"


def test_all_layers_are_measured_where_they_are_few(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    subject = subject_of(
        zoo_model("multibranch_heatmap"), ZOO["multibranch_heatmap"].spec, marker_set, tmp_path
    )
    network = open_roundable(subject.model).network
    names = [layer.tensor for layer in layers_of(network, subject.ranges)]
    assert sorted(choose_layers(network, subject.statistics, subject.ranges, 400)) == sorted(names)
    chosen = choose_layers(network, subject.statistics, subject.ranges, 6, ["heatmaps"])
    assert len(set(chosen)) == 6
    assert chosen[0] == "heatmaps"


def test_detector_is_measured_by_its_boxes(
    marker_detector_onnx: Path, marker_detector_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    spec = load_spec(marker_detector_onnx, marker_detector_spec)
    found = diagnose(subject_of(marker_detector_onnx, spec, marker_set, tmp_path), most_layers=6)
    losses = [entry.oks_loss for entry in found.layers]
    assert all(loss is not None and 0 <= loss <= 1 for loss in losses)
    assert max(loss or 0.0 for loss in losses) > 0


@pytest.mark.shared_data
@pytest.mark.slow
def test_known_culprits_of_tinypose_are_found(shared_data: Path, tmp_path: Path) -> None:
    spec_file = Path("tinypose_256x192")
    model = shared_data / "models" / "tinypose_256x192.onnx"
    subject = subject_of(model, load_spec(model, spec_file), shared_data / "coco_train", tmp_path)
    found = diagnose(subject)
    outliers = [culprit for culprit in found.culprits if culprit.kind == "outlier_channel"]
    # Residual sums, and the stem's ReLU, which is one step with its convolution.
    assert [culprit.op for culprit in outliers[:4]].count("Add") >= 2
    stem = next(culprit for culprit in outliers if culprit.tensor == "relu_0.tmp_0")
    assert stem.sqnr_db is not None
    assert stem.sqnr_db < 30
