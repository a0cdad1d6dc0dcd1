"""Marker models and marker pictures for every test: built once a session, found by name."""

from __future__ import annotations

from pathlib import Path

import pytest

# The builders import onnx and keras, which tests that need no model should not pay for.


@pytest.fixture(scope="session")
def marker_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the marker models and pictures of this session lie."""
    return tmp_path_factory.mktemp("marker")


def _spec(folder: Path, kind: str) -> Path:
    from tests.support.marker_models import marker_spec_toml

    path = folder / f"{kind}.toml"
    path.write_text(marker_spec_toml(kind), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def marker_onnx(marker_dir: Path) -> Path:
    """Top-down heatmap model without a spec inside."""
    from tests.support.marker_models import build_marker_heatmap_onnx

    return build_marker_heatmap_onnx(marker_dir / "heatmap.onnx")


@pytest.fixture(scope="session")
def marker_spec(marker_dir: Path) -> Path:
    """TOML spec of ``marker_onnx``."""
    return _spec(marker_dir, "heatmap")


@pytest.fixture(scope="session")
def marker_onnx_with_spec(marker_dir: Path) -> Path:
    """The same model with its spec inside."""
    from tests.support.marker_models import build_marker_heatmap_onnx

    return build_marker_heatmap_onnx(marker_dir / "heatmap_with_spec.onnx", with_spec=True)


@pytest.fixture(scope="session")
def marker_keras(marker_dir: Path) -> Path:
    """The same network as a .keras file, NHWC."""
    from tests.support.marker_models import build_marker_heatmap_keras

    return build_marker_heatmap_keras(marker_dir / "heatmap.keras")


@pytest.fixture(scope="session")
def marker_keras_spec(marker_dir: Path) -> Path:
    """TOML spec of ``marker_keras``."""
    return _spec(marker_dir, "heatmap_nhwc")


@pytest.fixture(scope="session")
def marker_simcc_onnx(marker_dir: Path) -> Path:
    """Top-down SimCC model."""
    from tests.support.marker_models import build_marker_simcc_onnx

    return build_marker_simcc_onnx(marker_dir / "simcc.onnx")


@pytest.fixture(scope="session")
def marker_simcc_spec(marker_dir: Path) -> Path:
    """TOML spec of ``marker_simcc_onnx``."""
    return _spec(marker_dir, "simcc")


@pytest.fixture(scope="session")
def marker_yolo_pose_onnx(marker_dir: Path) -> Path:
    """One-stage model."""
    from tests.support.marker_models import build_marker_yolo_pose_onnx

    return build_marker_yolo_pose_onnx(marker_dir / "yolo_pose.onnx")


@pytest.fixture(scope="session")
def marker_yolo_pose_spec(marker_dir: Path) -> Path:
    """TOML spec of ``marker_yolo_pose_onnx``."""
    return _spec(marker_dir, "yolo_pose")


@pytest.fixture(scope="session")
def marker_detector_onnx(marker_dir: Path) -> Path:
    """YOLOX-shaped person detector."""
    from tests.support.marker_models import build_marker_detector_onnx

    return build_marker_detector_onnx(marker_dir / "detector.onnx")


@pytest.fixture(scope="session")
def marker_detector_spec(marker_dir: Path) -> Path:
    """TOML spec of ``marker_detector_onnx``."""
    return _spec(marker_dir, "detector")


@pytest.fixture(scope="session")
def marker_set(marker_dir: Path) -> Path:
    """Data folder: 24 pictures of one figure each. For calibration."""
    from tests.support.marker_scene import write_marker_set

    return write_marker_set(marker_dir / "set", count=24, seed=1)


@pytest.fixture(scope="session")
def marker_pairs(marker_dir: Path) -> Path:
    """Data folder: 12 other pictures of two figures each. For evaluation."""
    from tests.support.marker_scene import write_marker_set

    return write_marker_set(marker_dir / "pairs", count=12, seed=2, persons=2)
