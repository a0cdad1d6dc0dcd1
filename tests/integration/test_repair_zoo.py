"""The automatic repair on models that nobody listed; what cannot be saved is not shipped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgepose.errors import GateFailedError
from edgepose.host.quantize.quantization import quantize_model
from edgepose.host.quantize.recipe_choice import recipe_for
from edgepose.host.quantize.request import QuantizationRequest
from edgepose.host.sources.artifact import open_artifact
from edgepose.spec.device_profile import find_profile
from edgepose.spec.quantization_report import QuantizationReport
from tests.support.zoo import plant

pytestmark = pytest.mark.slow

ZooModel = Callable[[str], Path]


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
