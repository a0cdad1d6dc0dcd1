"""The measure by which poses agree in benchmarks/mediapipe.py."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "mediapipe.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script under a name of its own: a module called mediapipe is another's."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("mediapipe_comparison", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _pose(torso_px: float = 100.0) -> np.ndarray:
    pose = np.random.default_rng(2).uniform(0, 300, (33, 3))
    pose[[11, 12], :2], pose[[23, 24], :2] = (50, 40), (50, 40 + torso_px)
    return pose


def test_distances_are_in_torso_lengths_of_the_second(script: ModuleType) -> None:
    first, second = _pose(), _pose()
    first[:, 0] += 3.0
    first[0, 1] += 40.0
    found = script.distances([first, None], [second, _pose()])
    assert found["median"] == pytest.approx(0.03)
    assert found["worst"] == pytest.approx(np.hypot(3, 40) / 100, abs=1e-5)
    assert script.distances([second], [second])["worst"] == 0


def test_programs_that_never_agree_on_somebody_give_no_figure(script: ModuleType) -> None:
    with pytest.raises(ValueError, match="no frame"):
        script.distances([_pose(), None], [None, _pose()])
    with pytest.raises(ValueError):
        script.distances([_pose()], [_pose(), _pose()])
