"""``edgepose-device calibrate``: bit-equal to calibration on the host, and no picture leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgepose.device.capture.file_sources import VideoSource
from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.errors import ConfigError, ModelError
from edgepose.host.bundle.builder import build_bundle
from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.data.calibration_set import CropSample, RepresentativeInputs
from edgepose.host.models.artifact import open_artifact
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest
from edgepose.host.quantize.tensor_ranges import read_ranges
from edgepose.records.device_profile import find_profile
from edgepose.records.lineage import RECIPES
from edgepose.runtime.activation_statistics import ChannelStatistics, collect_statistics, open_float_tensors
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.open_model import open_backend, open_detector, open_pipeline
from tests.support.bundle_fixtures import bundle_folder  # noqa: F401 (a fixture)
from tests.support.bundled_models import request_for

pytestmark = pytest.mark.slow

Statistics = dict[str, ChannelStatistics]


def _calibrate(*arguments: object) -> subprocess.CompletedProcess[str]:
    # The onnx package is hidden: a device does not have it.
    code = "import sys; sys.modules['onnx'] = None; from edgepose.cli.device_main import main; main()"
    command = [sys.executable, "-c", code, "calibrate", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def _calibrated(output: Path, *arguments: object) -> dict[str, Any]:
    result = _calibrate(*arguments, "--output", output)
    assert result.returncode == 0, result.stderr
    return json.loads(output.read_text())


def _host(model: Path, pictures: Path, spec: Path | None, detector: Path | None = None) -> Statistics:
    """The host's calibration on the boxes that a run on these pictures takes."""
    pipeline, backend = open_pipeline(model, spec), open_backend(model)
    finder = None if detector is None else open_detector(detector, detector.with_suffix(".toml"))
    estimator = FrameEstimator(pipeline, finder)
    samples = []
    for path in list_image_files(pictures):
        image = read_image_rgb(path)
        whole = [0, 0, image.shape[1], image.shape[0]]
        boxes = estimator.estimate(image).boxes_xyxy_px
        assert boxes is not None
        if pipeline.spec.uses_person_boxes:
            samples += [CropSample(path, "", None if list(box) == whole else box) for box in boxes]
        elif len(boxes):
            samples.append(CropSample(path, "", None))
    inputs = RepresentativeInputs(pipeline.spec.input, backend.input, samples)
    return collect_statistics(open_float_tensors(model), inputs)


def _bits(statistics: Statistics) -> dict[str, list[bytes]]:
    return {name: [np.asarray(v).tobytes() for v in vars(of).values()] for name, of in statistics.items()}


@pytest.fixture(scope="module")
def float_tflite(marker_onnx_with_spec: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("float") / "float.tflite"
    source = open_artifact(marker_onnx_with_spec)
    return convert_model(ConversionRequest(source, "tflite", output)).artifact.path


@pytest.fixture
def other_pictures(marker_set: Path, tmp_path: Path) -> Path:
    """The same pictures but for one that is mirrored."""
    folder = tmp_path / "other"
    folder.mkdir()
    for path in list_image_files(marker_set / "images"):
        (folder / path.name).write_bytes(path.read_bytes())
    last = max(folder.iterdir())
    cv2.imwrite(str(last), np.asarray(cv2.imread(str(last)))[:, ::-1])
    return folder


@pytest.mark.parametrize("model", ["float_tflite", "marker_onnx_with_spec"])
def test_a_followed_person_gives_the_bits_of_the_host(
    model: str, marker_set: Path, other_pictures: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    path = request.getfixturevalue(model)
    pictures = marker_set / "images"
    record = _calibrated(tmp_path / "r.json", pictures, "--model", path)
    assert (record["frames"], record["boxes_from"]) == (24, "followed")
    assert record["crops"] + record["crops_not_accepted"] == 24
    assert record["distinct_crops"] == record["crops"] >= 16
    device = read_ranges(tmp_path / "r.json", path)
    assert next(iter(device.values())).crops == record["crops"]
    assert _bits(device) == _bits(_host(path, pictures, None))
    # Negative control: one other picture, other bits.
    assert _bits(device) != _bits(_host(path, other_pictures, None))
    # And the whole way once more, byte by byte.
    _calibrated(tmp_path / "again.json", pictures, "--model", path)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "r.json").read_bytes()
    _calibrated(tmp_path / "other.json", other_pictures, "--model", path)
    assert (tmp_path / "other.json").read_bytes() != (tmp_path / "r.json").read_bytes()


def test_whole_pictures_give_the_bits_of_the_host(
    marker_yolo_pose_onnx: Path, marker_yolo_pose_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    pictures = marker_set / "images"
    arguments = (pictures, "--model", marker_yolo_pose_onnx, "--spec", marker_yolo_pose_spec)
    record = _calibrated(tmp_path / "r.json", *arguments)
    assert record["boxes_from"] == "whole_image"
    device = read_ranges(tmp_path / "r.json", marker_yolo_pose_onnx)
    assert _bits(device) == _bits(_host(marker_yolo_pose_onnx, pictures, marker_yolo_pose_spec))


def test_detected_persons_give_the_bits_of_the_host(
    marker_onnx_with_spec: Path,
    marker_detector_onnx: Path,
    marker_detector_spec: Path,
    marker_pairs: Path,
    tmp_path: Path,
) -> None:
    pictures = marker_pairs / "images"
    arguments = (pictures, "--model", marker_onnx_with_spec, "--detector", marker_detector_onnx)
    record = _calibrated(tmp_path / "r.json", *arguments, "--detector-spec", marker_detector_spec)
    assert record["boxes_from"] == "detector"
    assert record["crops"] > record["frames"] == 12
    device = read_ranges(tmp_path / "r.json", marker_onnx_with_spec)
    assert _bits(device) == _bits(_host(marker_onnx_with_spec, pictures, None, marker_detector_onnx))


def test_the_record_holds_only_figures_per_tensor_and_does_not_grow_with_the_frames(
    marker_onnx_with_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    arguments = (marker_set / "images", "--model", marker_onnx_with_spec)
    few = _calibrated(tmp_path / "few.json", *arguments, "--crops", 16)
    many = _calibrated(tmp_path / "many.json", *arguments)
    assert few["crops"] == 16 < many["crops"]
    shapes = [[(t["name"], len(t["mean"])) for t in record.pop("tensors")] for record in (few, many)]
    assert shapes[0] == shapes[1]
    input_values = 3 * 128 * 96
    assert max(channels for _, channels in shapes[0]) < input_values / 100
    assert {type(value) for value in many.values()} == {str, int}
    assert str(marker_set) not in (tmp_path / "many.json").read_text()


def test_too_few_frames_are_refused_and_nothing_is_written(
    marker_onnx_with_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    output = tmp_path / "r.json"
    arguments = (marker_set / "images", "--model", marker_onnx_with_spec, "--output", output)
    result = _calibrate(*arguments, "--max-frames", 15)
    assert result.returncode == 3, result.stderr
    assert "expected at least 16" in " ".join(result.stderr.split())
    assert list(tmp_path.iterdir()) == []
    # Negative control: all of them are enough.
    assert _calibrate(*arguments).returncode == 0


def test_a_camera_that_stands_still_is_not_enough(
    marker_yolo_pose_onnx: Path, marker_yolo_pose_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    still = tmp_path / "still"
    still.mkdir()
    content = list_image_files(marker_set / "images")[0].read_bytes()
    for index in range(20):
        (still / f"{index:02d}.png").write_bytes(content)
    arguments = ("--model", marker_yolo_pose_onnx, "--spec", marker_yolo_pose_spec)
    result = _calibrate(still, *arguments, "--output", tmp_path / "r.json")
    assert result.returncode == 3, result.stderr
    assert "20 crops of a person, 1 of them different" in " ".join(result.stderr.split())


def test_a_float_bundle_calibrates_and_an_int8_model_is_refused(
    bundle_folder: Path,  # noqa: F811
    marker_onnx_with_spec: Path,
    marker_set: Path,
    tmp_path: Path,
) -> None:
    record = _calibrated(
        tmp_path / "r.json", marker_set / "images", "--bundle", bundle_folder / "version1.epb"
    )
    assert record["model_name"] == "matched_filters"
    read_ranges(tmp_path / "r.json", bundle_folder / "model.onnx")
    int8 = _int8(marker_onnx_with_spec, marker_set, tmp_path / "int8.onnx")
    result = _calibrate(marker_set / "images", "--model", int8, "--output", tmp_path / "no.json")
    assert result.returncode == 5, result.stderr
    assert "is quantized" in " ".join(result.stderr.split())
    assert not (tmp_path / "no.json").exists()
    with pytest.raises(ModelError, match="is quantized"):
        open_float_tensors(int8)
    bundle = build_bundle(request_for(int8, tmp_path / "int8.epb"))
    result = _calibrate(marker_set / "images", "--bundle", bundle, "--output", tmp_path / "no.json")
    assert result.returncode == 5, result.stderr
    assert "install a float bundle" in " ".join(result.stderr.split())


def _int8(model: Path, data: Path, output: Path) -> Path:
    request = QuantizationRequest.for_profile(
        find_profile("jetson"), open_artifact(model), RECIPES["static_wi8_ai8"], output
    )
    return quantize_model(replace(request, calibration=data, compared_crops=0)).artifact.path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda r: r.update(model_sha256="0" * 64), "another|sha256", id="another model"),
        pytest.param(lambda r: r.update(distinct_crops=15), "at least 16", id="too few crops"),
        pytest.param(lambda r: r["tensors"].pop(), "lacks 1 of", id="a missing tensor"),
        pytest.param(lambda r: r["tensors"][0].update(name="no"), "lacks 1 of", id="a renamed tensor"),
        pytest.param(lambda r: r["tensors"][1].update(whole_low=float("nan")), "not finite", id="NaN"),
        pytest.param(
            lambda r: r["tensors"][1].update(
                {k: v[:1] for k, v in r["tensors"][1].items() if type(v) is list}
            ),
            "another number of channels in 1",
            id="other channels",
        ),
    ],
)
def test_the_host_refuses_ranges_that_do_not_fit(
    change: Any, reason: str, marker_onnx_with_spec: Path, ranges: Path, tmp_path: Path
) -> None:
    record = json.loads(ranges.read_text())
    read_ranges(ranges, marker_onnx_with_spec)
    change(record)
    (tmp_path / "changed.json").write_text(json.dumps(record))
    with pytest.raises(ConfigError, match=reason):
        read_ranges(tmp_path / "changed.json", marker_onnx_with_spec)


@pytest.fixture(scope="module")
def ranges(marker_onnx_with_spec: Path, marker_set: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("ranges") / "r.json"
    _calibrated(output, marker_set / "images", "--model", marker_onnx_with_spec)
    return output


def test_the_output_never_replaces_a_model(marker_onnx_with_spec: Path, marker_set: Path) -> None:
    before = marker_onnx_with_spec.read_bytes()
    arguments = (marker_set / "images", "--model", marker_onnx_with_spec)
    assert _calibrate(*arguments, "--output", marker_onnx_with_spec).returncode == 2
    assert _calibrate(*arguments, "--output", marker_set / "no" / "r.json").returncode == 3
    assert marker_onnx_with_spec.read_bytes() == before


@pytest.mark.shared_data
def test_a_real_video_gives_the_bits_of_the_host(shared_data: Path, tmp_path: Path) -> None:
    video = shared_data / "video/tfjs_pose_squats.mp4"
    source = open_artifact(shared_data / "models/tinypose_256x192.onnx", Path("tinypose_256x192"))
    path = convert_model(ConversionRequest(source, "tflite", tmp_path / "float.tflite")).artifact.path
    record = _calibrated(tmp_path / "r.json", video, "--model", path, "--crops", 20)
    assert (record["crops"], record["distinct_crops"], record["crops_not_accepted"]) == (20, 20, 0)
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    frames = VideoSource(video)
    for index in range(20):
        frame = frames.read(1.0)
        assert frame is not None
        cv2.imwrite(str(pictures / f"{index:02d}.png"), frame.image[..., ::-1])
    frames.close()
    assert _bits(read_ranges(tmp_path / "r.json", path)) == _bits(_host(path, pictures, None))
