"""The phone's two variants, int8 and float16: they deploy, and a GPU is expected to take every op."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.host.models.artifact import open_artifact
from edgepose.host.models.tflite_view import read_tflite
from edgepose.host.quantize.delegates.check import check_delegate
from edgepose.host.quantize.delegates.op_view import GraphView, view_graph
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest, recipe_for
from edgepose.records.device_profile import Precision, find_profile

CONVOLUTIONS = {"CONV_2D", "DEPTHWISE_CONV_2D"}


def for_phone(model: Path, spec: Path | None, data: Path, output: Path, precision: Precision) -> GraphView:
    profile = find_profile("phone")
    request = QuantizationRequest.for_profile(
        profile, open_artifact(model, spec), recipe_for(profile, precision), output
    )
    quantize_model(replace(request, calibration=data, compared_crops=0))
    report = check_delegate(profile, output)
    assert report is not None
    assert (report.status, report.refused, report.predicted_ops_on_cpu) == ("rules checked", (), 0)
    return view_graph(read_tflite(output.read_bytes()))


def weights_are_unpacked_from_float16(graph: GraphView) -> bool:
    """Whether every convolution reads stored float16 through a DEQUANTIZE, the form the delegate folds."""
    unpacked = {
        op.outputs[0].index
        for op in graph.ops
        if op.name == "DEQUANTIZE" and op.inputs[0] is not None
        if op.inputs[0].constant and op.inputs[0].dtype == "FLOAT16"
    }
    weights = [op.inputs[1] for op in graph.ops if op.name in CONVOLUTIONS]
    return bool(weights) and all(tensor is not None and tensor.index in unpacked for tensor in weights)


@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_the_gpu_delegate_is_expected_to_take_every_op_of_both_variants(
    marker_onnx_with_spec: Path, marker_set: Path, tmp_path: Path, precision: Precision
) -> None:
    graph = for_phone(marker_onnx_with_spec, None, marker_set, tmp_path / "phone.tflite", precision)
    # The int8 file keeps int8 weights: the negative control of the check below.
    assert weights_are_unpacked_from_float16(graph) == (precision == "float16")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8", "float16"])
def test_both_variants_deploy_to_a_preview_of_a_phone(
    marker_onnx: Path, marker_spec: Path, marker_set: Path, tmp_path: Path, precision: str
) -> None:
    words = ["--profile", "phone", "--model", marker_onnx, "--spec", marker_spec, "--calibration", marker_set]
    words += ["--precision", precision, "--root", tmp_path / "root", "--json", tmp_path / "report.json"]
    call = [sys.executable, "-m", "edgepose", "deploy", *map(str, words)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["precision"], report["installation"]["health"]["verified_on"]) == (precision, "host")


@pytest.mark.shared_data
@pytest.mark.slow
def test_tinypose_in_float16_is_in_the_form_that_the_gpu_delegate_folds(
    shared_data: Path, tmp_path: Path
) -> None:
    model = tmp_path / "tinypose.onnx"
    shutil.copyfile(shared_data / "models" / "tinypose_128x96.onnx", model)
    spec, data = Path("tinypose_128x96"), shared_data / "coco_train"
    graph = for_phone(model, spec, data, tmp_path / "phone.tflite", "float16")
    assert weights_are_unpacked_from_float16(graph)
