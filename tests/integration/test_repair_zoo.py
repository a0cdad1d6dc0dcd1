"""The automatic repair on models that nobody listed; what cannot be saved is not shipped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.errors import GateFailedError
from edgepose.host.models.artifact import open_artifact
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest, recipe_for
from edgepose.records.device_profile import find_profile
from edgepose.records.quantization import QuantizationReport
from tests.support.marker_scene import write_marker_set
from tests.support.zoo import plant

pytestmark = pytest.mark.slow

ZooModel = Callable[[str], Path]


def edgepose(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose.cli.main", *map(str, arguments)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=600)


def _quantize(
    model: Path, profile_name: str, pictures: Path, output: Path, *, repair: bool = True
) -> QuantizationReport:
    profile = find_profile(profile_name)
    recipe = recipe_for(profile, "int8")
    request = QuantizationRequest.for_profile(profile, open_artifact(model), recipe, output)
    return quantize_model(replace(request, calibration=pictures, repair=repair)).report


def test_ops_without_an_int8_form_stay_in_float_on_jetson_with_the_reason(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    report = _quantize(zoo_model("layernorm_simcc"), "jetson", marker_set, tmp_path / "out")
    assert report.agreement_oks is not None
    assert report.agreement_oks > 0.97
    assert report.model.float_ops == {"LayerNormalization": 3}
    assert [entry.reason for entry in report.recipe.excluded] == ["this op has no int8 form here"] * 3


def test_a_model_that_cannot_be_saved_in_integers_is_not_written(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    ill = plant.unsavable(zoo_model("shuffle_heatmap"), tmp_path / "ill.onnx")
    with pytest.raises(GateFailedError, match="Nothing was written") as problem:
        _quantize(ill, "coral", marker_set, tmp_path / "out" / "int8.tflite")
    assert "Tried: plain" in problem.value.message
    assert list((tmp_path / "out").iterdir()) == []
    # Negative control: without the trouble the same call writes the file.
    report = _quantize(zoo_model("shuffle_heatmap"), "coral", marker_set, tmp_path / "out" / "int8.tflite")
    assert report.agreement_oks is not None
    assert report.agreement_oks > 0.95


def _one_channel(source: Path, out: Path) -> Path:
    return plant.scale_channel(source, out, plant.ill_places(source)[-1], 3)


def _many_channels(source: Path, out: Path) -> Path:
    return plant.scale_many_channels(source, out, 0, folded=True)


def _unlike_halves(source: Path, out: Path) -> Path:
    return plant.concat_unlike(source, out, plant.ill_places(source)[0])


@pytest.mark.parametrize("profile", ["raspberrypi5", "jetson"])
@pytest.mark.parametrize(
    ("name", "trouble"),
    [
        ("mobile_heatmap", _one_channel),
        ("shuffle_heatmap", _many_channels),
        ("mobile_heatmap", _unlike_halves),
    ],
)
def test_planted_trouble_is_repaired_without_hand_work(
    zoo_model: ZooModel,
    name: str,
    trouble: Callable[[Path, Path], Path],
    profile: str,
    marker_set: Path,
    tmp_path: Path,
) -> None:
    ill = trouble(zoo_model(name), tmp_path / "ill.onnx")
    report = _quantize(ill, profile, marker_set, tmp_path / "int8")
    plain = report.repair[0]
    assert plain.name == "plain"
    # Negative control: without the repair the trouble is there.
    assert (plain.agreement_oks or 0.0) < 0.95
    assert report.agreement_oks is not None
    assert report.agreement_oks > 0.97


def test_boxes_scores_and_keypoints_in_one_tensor_keep_a_scale_each(
    zoo_model: ZooModel, tmp_path: Path
) -> None:
    # Few persons are held out of few pictures, and one of them decides.
    pictures = write_marker_set(tmp_path / "pictures", 40, 3)
    report = _quantize(zoo_model("yolo_pose"), "raspberrypi5", pictures, tmp_path / "int8")
    assert (report.repair[0].agreement_oks or 0.0) < 0.95
    assert report.agreement_oks is not None
    assert report.agreement_oks > 0.97
    assert any("unlike" in entry.reason for entry in report.recipe.excluded)


@pytest.mark.parametrize("profile", ["raspberrypi5", "jetson"])
def test_saved_recipe_gives_the_same_bytes_in_a_new_process(
    zoo_model: ZooModel, profile: str, marker_set: Path, tmp_path: Path
) -> None:
    ill = _one_channel(zoo_model("mobile_heatmap"), tmp_path / "ill.onnx")
    recipe, first, second = (tmp_path / name for name in ("recipe.json", "first", "second"))
    call = ("quantize", ill, "--profile", profile, "--calibration", marker_set)
    assert edgepose(*call, "--save-recipe", recipe, "-o", first).returncode == 0
    done = edgepose(*call, "--recipe", recipe, "-o", second)
    assert done.returncode == 0, done.stderr
    assert "Searching" not in done.stderr
    assert second.read_bytes() == first.read_bytes()
    # The file itself is a recipe, too.
    assert edgepose(*call, "--recipe", first, "-o", tmp_path / "third").returncode == 0
    assert (tmp_path / "third").read_bytes() == first.read_bytes()
    # Negative control: an edited recipe is carried out as it was edited.
    edited = json.loads(recipe.read_text(encoding="utf-8"))
    edited["range_method"] = "entropy" if edited["range_method"] != "entropy" else "minmax"
    recipe.write_text(json.dumps(edited), encoding="utf-8")
    assert edgepose(*call, "--recipe", recipe, "-o", tmp_path / "fourth").returncode == 0
    assert (tmp_path / "fourth").read_bytes() != first.read_bytes()


def test_recipe_that_names_an_unknown_tensor_is_refused(
    zoo_model: ZooModel, marker_set: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.json"
    call = ("quantize", zoo_model("mobile_heatmap"), "--profile", "raspberrypi5", "--calibration", marker_set)
    assert edgepose(*call, "--save-recipe", recipe, "-o", tmp_path / "first").returncode == 0
    edited = json.loads(recipe.read_text(encoding="utf-8"))
    edited["excluded"].append({"name": "no_such_tensor", "reason": "edited"})
    recipe.write_text(json.dumps(edited), encoding="utf-8")
    done = edgepose(*call, "--recipe", recipe, "-o", tmp_path / "second")
    assert done.returncode == 3
    assert "no_such_tensor" in done.stderr
    assert not (tmp_path / "second").exists()
