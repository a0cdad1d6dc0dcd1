"""Quantization of small networks: what is promised is checked in the written file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import ConfigError, EdgeposeError, ModelError
from edgepose.host.models.artifact import open_artifact, write_metadata
from edgepose.host.models.audit import audit_model
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import QuantizationRequest, QuantizationResult
from edgepose.records.lineage import (
    LINEAGE_METADATA_KEY,
    RECIPES,
    ExcludedTensor,
    GoldenPose,
    Lineage,
    ParentModel,
    QuantizationRecipe,
    lineage_to_json,
)
from edgepose.runtime.open_model import open_backend, open_pipeline
from tests.support.data_folders import labelled_folder, write_labels, write_pictures
from tests.support.tiny_networks import write_tiny_onnx, write_tiny_tflite

WRITERS = {"tflite": write_tiny_tflite, "onnx": write_tiny_onnx}
FLOAT_OP = {"tflite": "NEG", "onnx": "Neg"}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_folder(tmp_path_factory.mktemp("calibration"), 20)


def request_for(model: Path, recipe: str | QuantizationRecipe, pictures: Path | None) -> QuantizationRequest:
    source = open_artifact(model)
    chosen = RECIPES[recipe] if isinstance(recipe, str) else recipe
    target: Any = source.format
    return QuantizationRequest(source, chosen, target, model.with_name("out"), calibration=pictures)


def quantize(model: Path, recipe: str | QuantizationRecipe, pictures: Path | None) -> QuantizationResult:
    return quantize_model(request_for(model, recipe, pictures))


@pytest.mark.parametrize(
    ("model_format", "recipe", "precision"),
    [
        ("tflite", "static_wi8_ai8", "int8"),
        ("tflite", "static_wi8_ai8_integer_io", "int8"),
        ("tflite", "static_wi8_ai8_symmetric", "int8"),
        ("tflite", "dynamic_wi8", "int8"),
        ("tflite", "float16", "float16"),
        ("tflite", "float32", "float32"),
        ("onnx", "static_wi8_ai8", "int8"),
        ("onnx", "static_wi8_ai8_symmetric", "int8"),
        ("onnx", "float16", "float16"),
        ("onnx", "float32", "float32"),
    ],
)
def test_every_recipe_writes_a_model_that_runs_and_knows_its_history(
    tmp_path: Path, pictures: Path, model_format: str, recipe: str, precision: str
) -> None:
    model = WRITERS[model_format](tmp_path / "model")
    result = quantize(model, recipe, pictures)
    lineage = result.artifact.lineage
    assert lineage is not None
    assert lineage.precision == precision
    assert lineage.recipe == RECIPES[recipe]
    assert lineage.parents[-1].sha256 == open_artifact(model).sha256
    assert (lineage.calibration is not None) == (RECIPES[recipe].kind == "static")
    assert lineage.agreement_oks == result.report.agreement_oks is not None
    assert result.report.model.spec == open_artifact(model).spec
    poses = open_pipeline(result.artifact.path).estimate(np.full((60, 80, 3), 90, np.uint8))
    assert np.isfinite(poses.keypoints_px).all()


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_static_int8_has_no_float_op_and_stays_close(
    tmp_path: Path, pictures: Path, model_format: str
) -> None:
    result = quantize(WRITERS[model_format](tmp_path / "model"), "static_wi8_ai8", pictures)
    assert audit_model(result.artifact.path).float_ops == ()
    assert result.report.model.float_ops == {}
    assert result.report.agreement_oks is not None
    # Random weights give flat heatmaps, whose peak moves within one step of their whole range.
    assert result.report.agreement_oks > 0.8
    by_name = {error.name: error for error in result.report.tensor_errors}
    assert {"relu", "heatmaps"} <= set(by_name)
    assert all(error.sqnr_db is not None and error.sqnr_db > 20 for error in by_name.values())
    found = [error.sqnr_db for error in result.report.tensor_errors]
    assert found == sorted(found, key=lambda value: value or 0)


def test_whole_computation_in_float16_keeps_float32_inputs_and_outputs(
    tmp_path: Path, pictures: Path
) -> None:
    recipe = QuantizationRecipe(
        name="float16_compute", kind="cast", weight_bits=16, activation_bits=16, range_method="none"
    )
    result = quantize(write_tiny_onnx(tmp_path / "model"), recipe, pictures)
    backend = open_backend(result.artifact.path)
    assert backend.input.dtype == backend.outputs[0].dtype == np.float32
    assert result.artifact.precision == "float16"
    assert result.report.agreement_oks is not None
    assert result.report.agreement_oks > 0.99
    assert any(error.sqnr_db is not None and error.sqnr_db < 90 for error in result.report.tensor_errors)


def test_integer_io_takes_and_gives_int8_and_nothing_is_float(tmp_path: Path, pictures: Path) -> None:
    result = quantize(write_tiny_tflite(tmp_path / "model"), "static_wi8_ai8_integer_io", pictures)
    backend = open_backend(result.artifact.path)
    assert backend.input.dtype == backend.outputs[0].dtype == np.int8
    assert audit_model(result.artifact.path).integer_only


def test_output_keeps_the_name_that_the_spec_uses(tmp_path: Path, pictures: Path) -> None:
    result = quantize(write_tiny_tflite(tmp_path / "model"), "static_wi8_ai8", pictures)
    backend = open_backend(result.artifact.path)
    assert [info.name for info in backend.outputs] == ["heatmaps"]
    assert backend.outputs[0].dtype == np.float32


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_float_op_that_the_quantizer_left_silently_is_refused(
    tmp_path: Path, pictures: Path, model_format: str
) -> None:
    model = WRITERS[model_format](tmp_path / "model", float_op=FLOAT_OP[model_format])
    with pytest.raises(ModelError, match=f"stayed in float: .*{FLOAT_OP[model_format]} 'odd'") as caught:
        quantize(model, "static_wi8_ai8", pictures)
    assert caught.value.exit_code == 5
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_float_op_that_the_recipe_excludes_is_written_and_recorded(
    tmp_path: Path, pictures: Path, model_format: str
) -> None:
    model = WRITERS[model_format](tmp_path / "model", float_op=FLOAT_OP[model_format])
    excluded = (ExcludedTensor(name="odd", reason="no integer kernel"),)
    recipe = QuantizationRecipe(
        name="mine", kind="static", weight_bits=8, activation_bits=8, excluded=excluded
    )
    result = quantize(model, recipe, pictures)
    assert result.report.model.float_ops == {FLOAT_OP[model_format]: 1}
    assert result.report.recipe.excluded == excluded


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_excluding_what_is_not_there_is_refused(tmp_path: Path, pictures: Path, model_format: str) -> None:
    recipe = QuantizationRecipe(
        name="mine",
        kind="static",
        weight_bits=8,
        activation_bits=8,
        excluded=(ExcludedTensor(name="typing mistake", reason="none"),),
    )
    with pytest.raises(ConfigError, match="typing mistake"):
        quantize(WRITERS[model_format](tmp_path / "model"), recipe, pictures)


def test_excluded_op_fails_on_a_device_that_needs_integers_only(tmp_path: Path, pictures: Path) -> None:
    model = write_tiny_tflite(tmp_path / "model")
    request = replace(request_for(model, "static_wi8_ai8", pictures), integer_only=True)
    with pytest.raises(ModelError, match="every op, input and output to be integer"):
        quantize_model(request)


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
@pytest.mark.parametrize("recipe", ["static_wi8_ai8", "float16"])
def test_model_that_gives_nan_is_refused(
    tmp_path: Path, pictures: Path, model_format: str, recipe: str
) -> None:
    model = WRITERS[model_format](tmp_path / "model", weight=float("nan"))
    with pytest.raises(ModelError, match="NaN or infinity"):
        quantize(model, recipe, pictures)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("model_format", ["tflite", "onnx"])
def test_weight_beyond_float16_is_refused(tmp_path: Path, model_format: str) -> None:
    model = WRITERS[model_format](tmp_path / "model", weight=1e6)
    with pytest.raises(ModelError, match=r"float16|NaN or infinity"):
        quantize(model, "float16", None)


@pytest.mark.parametrize(
    ("model_format", "recipe"),
    [(f, r) for f in ("tflite", "onnx") for r in ("static_wi8_ai8", "float16")],
)
def test_same_request_gives_the_same_bytes(
    tmp_path: Path, pictures: Path, model_format: str, recipe: str
) -> None:
    model = WRITERS[model_format](tmp_path / "model")
    first = quantize(model, recipe, pictures).artifact.path.read_bytes()
    assert quantize(model, recipe, pictures).artifact.path.read_bytes() == first


def test_other_seed_draws_other_pictures(tmp_path: Path, pictures: Path) -> None:
    request = request_for(write_tiny_onnx(tmp_path / "model"), "static_wi8_ai8", pictures)
    digests = {quantize_model(replace(request, seed=seed)).report.calibration for seed in (0, 1)}
    assert len({report.digest for report in digests if report is not None}) == 2


def test_too_few_pictures_are_refused(tmp_path: Path) -> None:
    folder = labelled_folder(tmp_path / "few", 15)
    request = request_for(write_tiny_onnx(tmp_path / "model"), "static_wi8_ai8", folder)
    with pytest.raises(ConfigError, match=r"Found 15 different pictures .* at least 16"):
        quantize_model(replace(request, min_calibration_images=16))


def test_empty_folder_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no usable image"):
        quantize(write_tiny_onnx(tmp_path / "model"), "static_wi8_ai8", tmp_path / "empty")
    assert not (tmp_path / "out").exists()


def test_static_recipe_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no data folder"):
        quantize(write_tiny_onnx(tmp_path / "model"), "static_wi8_ai8", None)


def test_float16_without_a_folder_is_written_and_says_that_nothing_was_compared(tmp_path: Path) -> None:
    result = quantize(write_tiny_onnx(tmp_path / "model"), "float16", None)
    assert result.report.agreement_oks is None
    assert result.report.calibration is None
    assert result.report.tensor_errors == ()


def test_record_says_what_the_folder_lacks(tmp_path: Path) -> None:
    write_pictures(tmp_path / "data" / "images", 12)
    write_labels(tmp_path / "data" / "person_keypoints.json", [*range(8), 50])
    (tmp_path / "data" / "images" / "broken.jpg").write_bytes(b"?")
    report = quantize(write_tiny_onnx(tmp_path / "model"), "static_wi8_ai8", tmp_path / "data").report
    assert report.calibration is not None
    counts = report.calibration.audit
    assert (counts.unreadable, counts.labels_without_image, counts.images_without_label) == (1, 1, 4)
    assert report.calibration.boxes_from == "labels"


def test_int8_model_is_not_quantized_again(tmp_path: Path, pictures: Path) -> None:
    result = quantize(write_tiny_tflite(tmp_path / "model"), "static_wi8_ai8", pictures)
    result.artifact.path.rename(tmp_path / "int8")
    with pytest.raises(ModelError, match="int8 already"):
        quantize(tmp_path / "int8", "static_wi8_ai8", pictures)


def test_tflite_without_signature_is_refused_in_plain_words(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ModelError, match="no signature"):
        quantize(write_tiny_tflite(tmp_path / "model", signature=False), "static_wi8_ai8", pictures)


def test_integer_io_in_onnx_is_refused(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ConfigError, match="integer inputs and outputs"):
        quantize(write_tiny_onnx(tmp_path / "model"), "static_wi8_ai8_integer_io", pictures)


def test_dynamic_convolution_per_channel_in_onnx_is_refused(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(ModelError, match="one per tensor"):
        quantize(write_tiny_onnx(tmp_path / "model"), "dynamic_wi8", pictures)


def test_the_float_model_is_never_overwritten(tmp_path: Path) -> None:
    model = write_tiny_onnx(tmp_path / "model")
    before = model.read_bytes()
    with pytest.raises(EdgeposeError, match="float model itself"):
        quantize_model(replace(request_for(model, "float16", None), output=model))
    assert model.read_bytes() == before


def test_golden_poses_and_parents_are_handed_on(tmp_path: Path) -> None:
    model = write_tiny_onnx(tmp_path / "model")
    golden = GoldenPose(
        seed=1,
        image_sha256="0" * 64,
        width_px=10,
        height_px=10,
        box_xyxy_px=None,
        area_px2=9.0,
        keypoints=((1.0, 2.0, 0.5),),
    )
    first = ParentModel(file_name="source.onnx", sha256="1" * 64, step="convert")
    lineage = Lineage(parents=(first,), tools={"maker": "1"}, precision="float32", golden=(golden,))
    write_metadata(model, {LINEAGE_METADATA_KEY: lineage_to_json(lineage)})
    written = quantize(model, "float16", None).artifact.lineage
    assert written is not None
    assert written.golden == (golden,)
    assert [parent.step for parent in written.parents] == ["convert", "quantize float16"]
    assert {"maker", "edgepose", "onnxruntime"} <= set(written.tools)
