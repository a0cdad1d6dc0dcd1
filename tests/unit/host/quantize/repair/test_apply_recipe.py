"""A recipe carried out step by step: the same recipe gives the same bytes, and names all it implies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgepose.errors import ConfigError
from edgepose.host.data.calibration_set import RepresentativeInputs, calibration_crops
from edgepose.host.data.data_folder import open_data_folder
from edgepose.host.quantize.repair.apply_recipe import RecipeApplier
from edgepose.host.quantize.repair.float_model import FloatModel, OnnxFloat, TfliteFloat
from edgepose.records.lineage import RECIPES
from edgepose.runtime.open_model import open_backend
from tests.support.data_folders import labelled_folder
from tests.support.tiny_networks import tiny_spec, write_tiny_onnx, write_tiny_tflite

PLAIN = RECIPES["static_wi8_ai8"]
FULL = msgspec.structs.replace(PLAIN, equalize=True, exact_input=True, round_weights=True, range_method="mse")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_folder(tmp_path_factory.mktemp("pictures"), 10)


def applier(model_format: str, folder: Path, pictures: Path, **sent: Any) -> RecipeApplier:
    model: FloatModel
    if model_format == "onnx":
        path = write_tiny_onnx(folder / "model")
        model, layout = OnnxFloat.of_file(path), "NCHW"
    else:
        path = write_tiny_tflite(folder / "model")
        model, layout = TfliteFloat.of_file(path), "NHWC"
    spec = tiny_spec(layout).input
    samples = () if sent else calibration_crops(open_data_folder(pictures), 6, 0).samples
    return RecipeApplier(model, spec, RepresentativeInputs(spec, open_backend(path).input, samples), **sent)


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_same_recipe_gives_the_same_bytes_whatever_was_tried_before(
    tmp_path: Path, pictures: Path, model_format: str
) -> None:
    first = applier(model_format, tmp_path, pictures)
    plain = first.quantized(PLAIN)
    full = first.quantized(FULL)
    fresh = applier(model_format, tmp_path, pictures)
    assert fresh.quantized(fresh.complete(FULL)) == first.quantized(first.complete(FULL))
    assert fresh.quantized(PLAIN) == plain != full


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_complete_recipe_names_what_stays_in_float_once(
    tmp_path: Path, pictures: Path, model_format: str
) -> None:
    made = applier(model_format, tmp_path, pictures)
    complete = made.complete(FULL)
    assert "pixels" in {entry.name for entry in complete.excluded}
    assert made.complete(complete) == complete
    assert made.complete(PLAIN) == PLAIN


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
@pytest.mark.parametrize("method", ["average", "percentile", "entropy"])
def test_output_is_never_cut_but_other_tensors_are(
    tmp_path: Path, pictures: Path, model_format: str, method: Any
) -> None:
    made = applier(model_format, tmp_path, pictures)
    recipe = msgspec.structs.replace(PLAIN, range_method=method)
    known, ranges = made.stage(recipe).statistics, made.ranges(recipe)
    for name in ("heatmaps", "relu"):
        whole = float(known[name].lowest.min()), float(known[name].highest.max())
        assert (ranges[name] == whole) == (name == "heatmaps")


def test_ranges_of_a_device_do_for_methods_without_pictures_only(tmp_path: Path, pictures: Path) -> None:
    statistics = applier("tflite", tmp_path, pictures).stage(PLAIN).statistics
    sent = applier("tflite", tmp_path, pictures, statistics=statistics)
    assert not sent.has_images
    assert sent.quantized(PLAIN) == applier("tflite", tmp_path, pictures).quantized(PLAIN)
    with pytest.raises(ConfigError, match="'mse' needs the pictures"):
        sent.ranges(msgspec.structs.replace(PLAIN, range_method="mse"))
    with pytest.raises(ConfigError, match="rounds weights by their inputs"):
        sent.stage(msgspec.structs.replace(PLAIN, round_weights=True))
