"""Quantizing from ranges that a device sent: the bits of the host, and repairs that need no picture."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edgepose.errors import ModelError
from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.data.calibration_set import calibration_crops
from edgepose.host.data.data_folder import open_data_folder
from edgepose.host.models.artifact import open_artifact
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest
from edgepose.records.lineage import RECIPES
from tests.support.marker_scene import write_marker_set
from tests.support.zoo import plant

pytestmark = pytest.mark.slow

ZooModel = Callable[[str], Path]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_marker_set(tmp_path_factory.mktemp("ranges") / "set", count=32, seed=3)


@pytest.fixture(scope="module")
def whole_model(zoo_model: ZooModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sees whole pictures, so that device and host calibrate on the same crops."""
    return _tflite(zoo_model("movenet_single"), tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def ill_model(zoo_model: ZooModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its channels are of very unlike ranges, as TinyPose's are."""
    folder = tmp_path_factory.mktemp("ill")
    ill = plant.scale_many_channels(zoo_model("shuffle_heatmap"), folder / "ill.onnx", 0, 2.0, folded=True)
    return _tflite(ill, folder)


def _tflite(model: Path, folder: Path) -> Path:
    return convert_model(ConversionRequest(open_artifact(model), "tflite", folder / "m.tflite")).artifact.path


@pytest.fixture(scope="module")
def whole_ranges(whole_model: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of exactly the pictures that calibrate on the host, in their order."""
    folder = tmp_path_factory.mktemp("frames")
    crops = calibration_crops(open_data_folder(pictures), 64, 0, None, whole_images=True)
    for index, sample in enumerate(crops.samples):
        shutil.copyfile(sample.image_path, folder / f"{index:03d}{sample.image_path.suffix}")
    return _calibrate(whole_model, folder, folder.parent / f"{folder.name}.json")


@pytest.fixture(scope="module")
def ranges(ill_model: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _calibrate(ill_model, pictures / "images", tmp_path_factory.mktemp("ill_ranges") / "r.json")


def _calibrate(model: Path, pictures: Path, output: Path) -> Path:
    command = [sys.executable, "-m", "edgepose.cli.device_main", "calibrate", pictures, "--model", model]
    subprocess.run([*command, "--output", output], check=True, capture_output=True, timeout=300)
    return output


def _quantize(model: Path, output: Path, *options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgepose.cli.main", "quantize", model, "--profile", "raspberrypi"]
    arguments = [*map(str, (*command, *options, "-o", output))]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)


def test_a_plain_recipe_gives_the_weights_and_scales_of_host_calibration(
    whole_model: Path, pictures: Path, whole_ranges: Path, tmp_path: Path
) -> None:
    plain = ("--recipe", "static_wi8_ai8")
    sent, here, other = (tmp_path / name for name in ("sent", "here", "other"))
    assert _quantize(whole_model, sent, *plain, "--ranges", whole_ranges).returncode == 0
    assert _quantize(whole_model, here, *plain, "--calibration", pictures).returncode == 0
    assert _bare(sent) == _bare(here)
    # Negative control: other pictures, other bits.
    assert _quantize(whole_model, other, *plain, "--calibration", pictures, "--seed", 1).returncode == 0
    assert _bare(other) != _bare(here)


def test_without_pictures_the_repairs_that_need_none_are_carried_out_and_nothing_is_claimed(
    ill_model: Path, pictures: Path, ranges: Path, tmp_path: Path
) -> None:
    out, report_file = tmp_path / "out", tmp_path / "report.json"
    done = _quantize(ill_model, out, "--ranges", ranges)
    assert done.returncode == 0, done.stderr
    assert "not checked: no pictures" in done.stdout
    recipe = open_artifact(out).lineage.recipe  # type: ignore[union-attr]
    assert recipe is not None
    assert (recipe.equalize, recipe.exact_input, recipe.range_method) == (True, True, "average")
    # What it saved, measured afterwards; the plain recipe is the negative control.
    checked = _quantize(
        ill_model, tmp_path / "c", "--ranges", ranges, "--calibration", pictures,
        "--recipe", out, "--json", report_file,
    )  # fmt: skip
    assert checked.returncode == 0, checked.stderr
    assert json.loads(report_file.read_text())["agreement_oks"] > 0.97
    assert _plain_agreement(ill_model, pictures, ranges, tmp_path / "plain") < 0.9
    # The recipe inside gives the same weights and scales again.
    assert _bare(tmp_path / "c") == _bare(out)


def _plain_agreement(model: Path, pictures: Path, ranges: Path, output: Path) -> float:
    request = QuantizationRequest(
        open_artifact(model), RECIPES["static_wi8_ai8"], "tflite", output, calibration=pictures, ranges=ranges
    )
    try:
        agreement = quantize_model(replace(request, compared_crops=0)).report.agreement_oks
    except ModelError as problem:
        # XNNPACK refuses some scales of so unlike channels: that agrees with nothing either.
        if "scales that no kernel can join" not in problem.message:
            raise
        return 0.0
    assert agreement is not None
    return agreement


@pytest.mark.parametrize("asked", [{"round_weights": True}, {"range_method": "mse"}], ids=str)
def test_a_recipe_that_needs_pictures_is_refused_without_them(
    asked: dict[str, object], ill_model: Path, ranges: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    recipe.write_bytes(msgspec.json.encode(msgspec.structs.replace(RECIPES["static_wi8_ai8"], **asked)))
    done = _quantize(ill_model, tmp_path / "out", "--ranges", ranges, "--recipe", recipe)
    assert done.returncode == 3, done.stderr
    assert "--calibration" in done.stderr
    assert not (tmp_path / "out").exists()


def _bare(model: Path) -> bytes:
    """The file without its metadata, which tells of the pictures that it was checked on."""
    from ai_edge_litert.tools import flatbuffer_utils

    graph = flatbuffer_utils.read_model(str(model))
    for entry in graph.metadata:
        graph.buffers[entry.buffer].data = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))
