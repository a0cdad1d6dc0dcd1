"""Zoo models for every test: each built once a session, when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

# The builders import onnx and onnxruntime, which tests that need no model should not pay for.


@pytest.fixture(scope="session")
def zoo_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """``zoo_model(name)``: the ONNX file of a zoo family, its spec inside. Read only: all tests share it."""
    folder = tmp_path_factory.mktemp("zoo")

    def model(name: str) -> Path:
        from tests.support.zoo.catalogue import ZOO

        path = folder / f"{name}.onnx"
        return path if path.exists() else ZOO[name].build(path)

    return model
