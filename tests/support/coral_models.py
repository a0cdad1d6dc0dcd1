"""A pose model in integers only, as the Coral profiles take it: built once a session."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def coral_model(marker_dir: Path, marker_onnx_with_spec: Path, marker_set: Path) -> Path:
    """The marker model, quantized for ``coral`` with its spec and golden poses inside."""
    from dataclasses import replace

    from edgepose.host.models.artifact import open_artifact
    from edgepose.host.quantize.quantization import quantize_model
    from edgepose.host.quantize.recipe_choice import QuantizationRequest, recipe_for
    from edgepose.records.device_profile import find_profile

    profile, output = find_profile("coral"), marker_dir / "coral.tflite"
    request = QuantizationRequest.for_profile(
        profile, open_artifact(marker_onnx_with_spec), recipe_for(profile, None), output
    )
    quantize_model(replace(request, calibration=marker_set, compared_crops=0))
    return output
