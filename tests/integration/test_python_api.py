"""From Python all the way: a bundle and a device root are opened, verified, and run what ships."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

import edgepose
from edgepose.device.install.installer import install_bundle
from edgepose.errors import ConfigError, TrustError
from edgepose.records.record import to_builtins
from edgepose.sandbox.python_child import run_python
from tests.conftest import PROJECT
from tests.support.bundle_fixtures import bundle_folder

__all__ = ["bundle_folder"]

FIGURES = PROJECT / "calibration_data" / "figures"

pytestmark = pytest.mark.slow


@pytest.fixture(name="image")
def _image() -> NDArray[np.uint8]:
    bgr = cv2.imread(str(min((FIGURES / "images").iterdir())))
    return np.ascontiguousarray(bgr[..., ::-1])


def test_a_bundle_and_the_root_that_it_is_installed_in_give_the_same(
    bundle_folder: Path,
    image: NDArray[np.uint8],
    tmp_path: Path,
) -> None:
    bundle, root = bundle_folder / "version1.epb", tmp_path / "root"
    install_bundle(bundle, root)
    from_bundle, from_root = edgepose.open(bundle)(image), edgepose.open(root)(image)
    np.testing.assert_array_equal(from_bundle.keypoints_px, from_root.keypoints_px)


def test_a_bundle_with_one_changed_byte_is_not_opened(
    bundle_folder: Path,
    tmp_path: Path,
) -> None:
    data = bytearray((bundle_folder / "version1.epb").read_bytes())
    data[len(data) // 2] ^= 1
    changed = tmp_path / "changed.epb"
    changed.write_bytes(data)
    with pytest.raises(TrustError):
        edgepose.open(changed)


def test_a_folder_in_which_nothing_is_installed_is_not_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Nothing is installed"):
        edgepose.open(tmp_path)


def test_a_deployment_from_python_is_that_of_the_command(image: NDArray[np.uint8], tmp_path: Path) -> None:
    """The same steps, gate and model; and what is installed can be opened."""
    report = edgepose.deploy("raspberrypi", tmp_path / "python")
    record = tmp_path / "deployment.json"
    words = ["deploy", "--profile", "raspberrypi", "--root", str(tmp_path / "command"), "--json", str(record)]
    done = run_python("edgepose.cli.main", words)
    assert done.returncode == 0, done.stderr
    here, there = json.loads(json.dumps(to_builtins(report))), json.loads(record.read_text())
    assert here["gate"] == there["gate"]
    assert here["gate"]["passed"] is True
    assert [step["name"] for step in here["steps"]] == [step["name"] for step in there["steps"]]
    assert here["installation"]["model_sha256"] == there["installation"]["model_sha256"]
    found = edgepose.open(tmp_path / "python")(image)
    expected = edgepose.open("edgepose-s_int8", detector="edgepose-d")(image)
    assert len(found) == len(expected) > 0
    np.testing.assert_allclose(found.keypoints_px, expected.keypoints_px, atol=1)
