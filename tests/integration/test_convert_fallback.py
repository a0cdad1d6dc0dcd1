"""ONNX to TFLite where the direct route cannot go: onnx2tf takes over, and the record says why."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.convert.conversion import ConversionRequest, convert_model
from edgepose.host.convert.direct.convert import HANDLERS
from edgepose.host.models.artifact import open_artifact
from edgepose.host.tools.installation import TOOLS, is_current
from edgepose.trust.digests import sha256_of_file
from tests.support.marker_models import nan_weights

pytestmark = pytest.mark.slow
needs_onnx2tf = pytest.mark.skipif(
    not is_current(TOOLS["onnx2tf"]), reason="needs `edgepose tools install onnx2tf`, which make setup calls"
)


@needs_onnx2tf
def test_an_op_that_the_direct_route_lacks_goes_to_onnx2tf_and_is_noted(
    marker_onnx: Path, marker_spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, "Conv")
    source = open_artifact(marker_onnx, marker_spec)
    lines: list[str] = []
    result = convert_model(ConversionRequest(source, "tflite", tmp_path / "out.tflite", lines.append))
    assert result.record.route == "onnx2tf"
    assert "Conv" in result.record.route_note
    assert any("onnx2tf" in line for line in lines)
    assert result.record.parity[0].correlation > 0.9999
    assert result.artifact.lineage is not None
    assert result.artifact.lineage.tools["onnx2tf"] == "1.29.24"


@needs_onnx2tf
def test_the_source_is_never_changed_by_onnx2tf(
    marker_onnx: Path, marker_spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnx2tf rewrites the file that it is given."""
    monkeypatch.delitem(HANDLERS, "Conv")
    before = sha256_of_file(marker_onnx)
    convert_model(ConversionRequest(open_artifact(marker_onnx, marker_spec), "tflite", tmp_path / "o.tflite"))
    assert sha256_of_file(marker_onnx) == before


def test_without_onnx2tf_the_error_names_the_command(
    marker_onnx: Path, marker_spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(HANDLERS, "Conv")
    monkeypatch.setenv("EDGEPOSE_TOOLS_DIR", str(tmp_path / "nothing"))
    request = ConversionRequest(open_artifact(marker_onnx, marker_spec), "tflite", tmp_path / "out.tflite")
    with pytest.raises(MissingDependencyError, match="edgepose tools install onnx2tf"):
        convert_model(request)
    assert not (tmp_path / "out.tflite").exists()


def test_a_model_that_gives_nan_is_refused_before_any_route(
    marker_onnx: Path, marker_spec: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEPOSE_TOOLS_DIR", str(tmp_path / "nothing"))
    damaged = nan_weights(marker_onnx, tmp_path / "nan.onnx")
    request = ConversionRequest(open_artifact(damaged, marker_spec), "tflite", tmp_path / "out.tflite")
    with pytest.raises(ModelError, match="NaN"):
        convert_model(request)
