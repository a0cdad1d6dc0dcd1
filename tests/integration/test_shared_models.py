"""Real models of several makers load, run and give finite numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import DeviceError
from edgepose.runtime.backend import run_once
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.open_model import open_backend, open_detector, open_pipeline

pytestmark = pytest.mark.shared_data

FILES = [
    "tinypose_256x192.onnx",
    "tinypose_128x96.onnx",
    "yolox_nano.onnx",
    "movenet/movenet_single_pose_lightning_ptq.tflite",
    "blazepose/pose_detection.tflite",
    "blazepose/pose_landmark_full.tflite",
    "efficientpose/EfficientPoseRT.tflite",
    "efficientpose/EfficientPoseI.tflite",
    "posenet/posenet_mobilenet_v1_075_353_481_quant.tflite",
]


@pytest.mark.parametrize("name", FILES)
def test_a_model_loads_counts_its_ops_and_runs_finite(shared_data: Path, name: str) -> None:
    backend = open_backend(shared_data / "models" / name)
    info = backend.info
    assert info.ops_total >= 32
    if name.endswith(".tflite"):
        assert info.delegate_used == "xnnpack"
        assert info.ops_on_cpu < info.ops_total / 2, "XNNPACK takes most of every one of them"
    else:
        assert info.ops_on_cpu == info.ops_total
    values = np.full(backend.input.shape, 100, backend.input.dtype)
    outputs = run_once(backend, values)
    assert all(np.isfinite(output).all() for output in outputs)
    assert [output.shape for output in outputs] == [info.shape for info in backend.outputs]


def test_a_file_compiled_for_the_edge_tpu_is_refused_and_named(shared_data: Path) -> None:
    with pytest.raises(DeviceError, match="Edge TPU") as refused:
        open_backend(shared_data / "models/movenet/movenet_single_pose_lightning_ptq_edgetpu.tflite")
    assert refused.value.exit_code == 9
    assert "coral" in refused.value.hint


# With the labelled box of one large person; a model that is fed wrongly scores near 0 here.
POSE_MODELS = [
    ("tinypose_256x192.onnx", "tinypose_256x192", 0.6),
    ("tinypose_128x96.onnx", "tinypose_128x96", 0.5),
    ("movenet/movenet_single_pose_lightning_ptq.tflite", "movenet_lightning", 0.3),
    ("efficientpose/EfficientPoseRT.tflite", "efficientpose_rt", 0.5),
    ("efficientpose/EfficientPoseI.tflite", "efficientpose_i", 0.5),
]


@pytest.mark.parametrize(("file", "spec", "least_share"), POSE_MODELS, ids=[row[1] for row in POSE_MODELS])
def test_a_ready_spec_puts_keypoints_where_the_labels_are(
    shared_data: Path, file: str, spec: str, least_share: float
) -> None:
    shares = _share_near_labels(shared_data, file, spec)
    assert np.mean(shares) > least_share, shares


def test_the_comparison_with_labels_notices_a_spec_of_another_keypoint_order(
    shared_data: Path, tmp_path: Path
) -> None:
    from edgepose.records.model_spec import shipped_spec_paths

    text = shipped_spec_paths()["efficientpose_rt"].read_text(encoding="utf-8")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(text.replace('"right_', '"x_').replace('"left_', '"right_').replace('"x_', '"left_'))
    shares = _share_near_labels(shared_data, "efficientpose/EfficientPoseRT.tflite", str(wrong))
    assert np.mean(shares) < 0.4


def _share_near_labels(shared_data: Path, file: str, spec: str) -> list[float]:
    """For each of some large persons the share of labelled keypoints found within a tenth of the box."""
    import json

    from edgepose.pose.skeletons import COCO17, shared_keypoints

    pipeline = open_pipeline(shared_data / "models" / file, Path(spec))
    pairs = shared_keypoints(pipeline.spec.pose_skeleton, COCO17)
    labels = json.loads((shared_data / "coco_val" / "person_keypoints.json").read_text())
    names = {image["id"]: image["file_name"] for image in labels["images"]}
    files = {path.name: path for path in (shared_data / "coco_val").rglob("*.jpg")}
    large = sorted(labels["annotations"], key=lambda person: (-person["num_keypoints"], -person["area"]))[:10]
    shares = []
    for person in large:
        x, y, width, height = person["bbox"]
        image = read_image_rgb(files[Path(names[person["image_id"]]).name])
        poses = pipeline.estimate(image, np.array([[x, y, x + width, y + height]]))
        truth = np.reshape(person["keypoints"], (17, 3))[pairs[:, 1]]
        distance = np.linalg.norm(poses.keypoints_px[0, pairs[:, 0]] - truth[:, :2], axis=1)
        near = distance < 0.1 * max(width, height)
        shares.append(float(near[truth[:, 2] > 0].mean()))
    return shares


def test_the_detector_finds_persons_and_hardly_any_where_nobody_is(shared_data: Path) -> None:
    detector = open_detector(shared_data / "models" / "yolox_nano.onnx")
    with_people = [detector.detect(read_image_rgb(p))[1] for p in _some_images(shared_data / "coco_val")]
    without = [detector.detect(read_image_rgb(p))[1] for p in _some_images(shared_data / "no_person")]
    assert sum(len(scores) > 0 for scores in with_people) > 8
    assert sum(len(scores) > 0 for scores in without) < 4


def _some_images(folder: Path) -> list[Path]:
    images = folder / "images"
    return list_image_files(images if images.is_dir() else folder)[:12]
