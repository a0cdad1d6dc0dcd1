"""Real models: inspected, converted, and compared number by number."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import DeviceError, MissingDependencyError, ModelError
from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.convert.routes import convert_with_onnx2tf, fix_sizes, fold_constants, refuse_other_values
from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.inspect import inspect_model
from edgepose.host.models.tflite_view import first_signature, read_tflite
from edgepose.host.tools.installation import tool_python
from edgepose.records.model_spec import find_spec, shipped_spec_paths
from edgepose.runtime.open_model import open_backend
from edgepose.trust.digests import sha256_of_file

pytestmark = pytest.mark.shared_data

MODELS = {
    "tinypose_256x192.onnx": ("onnx", "float32", False),
    "tinypose_128x96.onnx": ("onnx", "float32", False),
    "yolox_nano.onnx": ("onnx", "float32", False),
    "movenet/movenet_single_pose_lightning_ptq.tflite": ("tflite", "int8", False),
    "movenet/movenet_single_pose_lightning_ptq_edgetpu.tflite": ("tflite", "int8", False),
    "blazepose/pose_detection.tflite": ("tflite", "float16", False),
    "blazepose/pose_landmark_full.tflite": ("tflite", "float16", False),
    "efficientpose/EfficientPoseRT.tflite": ("tflite", "float16", False),
    "efficientpose/EfficientPoseI.tflite": ("tflite", "float16", False),
    "posenet/posenet_mobilenet_v1_075_353_481_quant.tflite": ("tflite", "int8", True),
}


@pytest.mark.parametrize(("name", "expected"), MODELS.items())
def test_every_shared_model_is_told_for_what_it_is(
    shared_data: Path, name: str, expected: tuple[str, str, bool]
) -> None:
    report = inspect_model(shared_data / "models" / name)
    assert (report.format, report.precision, report.integer_only) == expected
    assert sum(report.float_ops.values()) <= sum(report.ops.values())
    assert (not report.float_ops) == report.integer_only


def test_an_edge_tpu_file_is_inspected_though_it_does_not_run_here(shared_data: Path) -> None:
    path = shared_data / "models/movenet/movenet_single_pose_lightning_ptq_edgetpu.tflite"
    assert "edgetpu-custom-op" in inspect_model(path).ops
    with pytest.raises(DeviceError, match="Edge TPU"):
        open_backend(path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "largest"), [("tinypose_256x192", 1e-4), ("tinypose_128x96", 1e-4), ("yolox_nano", 5e-3)]
)
def test_onnx_becomes_tflite_with_the_same_numbers(
    shared_data: Path, tmp_path: Path, name: str, largest: float
) -> None:
    source = open_artifact(shared_data / "models" / f"{name}.onnx", Path(name))
    before = sha256_of_file(source.path)
    result = convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite"))
    assert (result.record.route, result.record.route_note) == ("direct", "")
    assert sha256_of_file(source.path) == before
    (parity,) = result.record.parity
    assert parity.max_abs_error < largest
    assert parity.correlation > 0.99999
    assert parity.argmax_agreement in {None, 1.0}
    spec = result.artifact.spec
    assert spec.input.layout == "NHWC"
    assert spec.codec == source.spec.codec
    assert [tensor.name for tensor in result.record.model.outputs] == [parity.name]
    assert first_signature(read_tflite(result.artifact.path.read_bytes()))[0] == "serving_default"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tinypose_256x192", "yolox_nano"])
def test_onnx_stays_onnx_with_the_same_numbers(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = open_artifact(shared_data / "models" / f"{name}.onnx", Path(name))
    result = convert_model(ConversionRequest(source, "onnx", tmp_path / "out.onnx"))
    assert sum(result.record.model.ops.values()) <= sum(inspect_model(source.path).ops.values())
    assert result.record.parity[0].correlation > 0.99999


@pytest.mark.slow
def test_onnx2tfs_fast_mode_gives_the_same_numbers_and_a_damaged_file_does_not(
    shared_data: Path, tmp_path: Path
) -> None:
    _skip_without_onnx2tf()
    spec = find_spec(Path("tinypose_128x96"))
    fix_sizes(shared_data / "models/tinypose_128x96.onnx", spec.input, tmp_path / "fixed.onnx")
    fold_constants(tmp_path / "fixed.onnx", tmp_path / "folded.onnx")
    converted = tmp_path / "converted.tflite"
    converted.write_bytes(convert_with_onnx2tf(tmp_path / "folded.onnx"))
    refuse_other_values(tmp_path / "fixed.onnx", converted)
    graph = read_tflite(converted.read_bytes())
    largest = max((b for b in graph.buffers if b.data is not None), key=lambda b: len(b.data))
    weights = np.frombuffer(bytes(largest.data), np.float32)
    damaged = converted.read_bytes().replace(weights.tobytes(), (weights * -1).tobytes())
    assert damaged != converted.read_bytes()
    converted.write_bytes(damaged)
    with pytest.raises(ModelError, match="damaged"):
        refuse_other_values(tmp_path / "fixed.onnx", converted)


@pytest.mark.slow
def test_an_old_keras_file_with_open_sizes_becomes_tflite(shared_data: Path, tmp_path: Path) -> None:
    text = shipped_spec_paths()["efficientpose_rt"].read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith(("mean", "std", "output"))]
    at = lines.index("[input]") + 1
    lines[at:at] = ["mean = [127.5, 127.5, 127.5]", "std = [127.5, 127.5, 127.5]"]
    spec = tmp_path / "lite.toml"
    spec.write_text("\n".join([*lines, 'output = "upscaled_confs"', ""]), encoding="utf-8")
    source = open_artifact(shared_data / "models/efficientpose/EfficientPoseRT_LITE.h5", spec)
    result = convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite"))
    assert result.record.model.outputs[0].shape == (1, 224, 224, 16)
    assert result.record.parity[0].correlation > 0.99999


def _skip_without_onnx2tf() -> None:
    try:
        tool_python("onnx2tf")
    except MissingDependencyError as problem:
        pytest.skip(str(problem))
