"""``edgepose quantize`` and ``edgepose data audit`` as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest

from tests.support.data_folders import labelled_folder, write_pictures
from tests.support.tiny_networks import write_tiny_onnx, write_tiny_tflite


def edgepose(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose.cli.main", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_folder(tmp_path_factory.mktemp("calibration"), 20)


def test_profile_decides_format_and_recipe_and_json_stands_alone(
    tmp_path: Path, marker_onnx_with_spec: Path, marker_set: Path
) -> None:
    done = edgepose(
        "quantize", marker_onnx_with_spec, "--profile", "coral", "--calibration", marker_set,
        "-o", tmp_path / "quantized", "--json", "-",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "edgepose.quantization/1"
    assert report["model"]["schema"] == "edgepose.model/1"
    assert report["recipe"]["name"] == "static_wi8_ai8_integer_io"
    assert report["model"]["integer_only"]
    assert report["model"]["float_ops"] == {}
    assert report["calibration"]["images"] > 0
    assert report["calibration"]["audit"]["unreadable"] == 0
    assert len(report["calibration"]["digest"]) == 64
    assert 0 <= report["agreement_oks"] <= 1
    assert report["tensor_errors"]
    assert report["seconds"] > 0


def test_explain_shows_tensors_worst_first(
    tmp_path: Path, marker_onnx_with_spec: Path, marker_set: Path
) -> None:
    done = edgepose(
        "quantize", marker_onnx_with_spec, "--profile", "jetson", "--calibration", marker_set, "--explain",
        "-o", tmp_path / "quantized",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tensors compared, worst first" in done.stdout
    assert "heatmaps" in done.stdout


def test_a_model_that_no_repair_keeps_is_not_written_and_names_culprits(
    tmp_path: Path, pictures: Path
) -> None:
    model, out = write_tiny_tflite(tmp_path / "model"), tmp_path / "quantized"
    done = edgepose("quantize", model, "--profile", "coral", "--calibration", pictures, "-o", out)
    assert done.returncode == 6
    assert "Culprits: 'heatmaps' (CONV_2D)" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("extra", "code", "said"),
    [
        (("--recipe", "int7"), 3, "expected one of static_wi8_ai8"),
        (("--recipe", "float16", "--precision", "int8"), 2, "exclude each other"),
        (("--json", "model.onnx"), 2, "must end in .json"),
        (("--profile", "toaster"), 3, "toaster"),
        ((), 3, "--calibration"),
    ],
)
def test_wrong_call_says_what_to_do(tmp_path: Path, extra: tuple[str, ...], code: int, said: str) -> None:
    model = write_tiny_onnx(tmp_path / "model")
    done = edgepose("quantize", model, "--profile", "jetson", *extra, "-o", tmp_path / "out")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_runtime_finds_an_integer_kernel_for_every_convolution(tmp_path: Path, pictures: Path) -> None:
    model, out = write_tiny_onnx(tmp_path / "model"), tmp_path / "quantized"
    call = ("--profile", "jetson", "--recipe", "static_wi8_ai8", "--calibration", pictures, "-o", out)
    assert edgepose("quantize", model, *call).returncode == 0
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 4
    onnxruntime.InferenceSession(out.read_bytes(), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node}
    assert "QLinearConv" in kinds
    assert not kinds & {"Conv", "FusedConv", "Relu"}


def test_audit_counts_and_finds_leaks(tmp_path: Path) -> None:
    mine = labelled_folder(tmp_path / "mine", 4)
    other = write_pictures(tmp_path / "other", 2)
    (mine / "images" / "broken.jpg").write_bytes(b"?")
    done = edgepose("data", "audit", mine, "--against", other, "--json", "-")
    assert done.returncode == 3
    assert "2 pictures are in" in done.stderr
    report = json.loads(done.stdout)
    assert report["schema"] == "edgepose.data_audit/1"
    assert report["counts"]["images"] == 4
    assert report["unreadable_files"] == ["broken.jpg"]
    assert report["leaked_files"] == ["000.png", "001.png"]


def test_audit_of_an_empty_folder_exits_with_3(tmp_path: Path) -> None:
    done = edgepose("data", "audit", tmp_path)
    assert done.returncode == 3
    assert "no usable image" in done.stderr
