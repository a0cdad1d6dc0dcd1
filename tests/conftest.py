"""Fixtures for all tests, and the tiers: what is missing is skipped with its reason."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support import leftovers
from tests.support.full_disk import keep_mounts_private

pytest_plugins = ["tests.support.fixtures", "tests.support.zoo.fixtures"]

PROJECT = Path(__file__).resolve().parent.parent
SHARED_DATA = PROJECT.parent / "shared" / "data"


def pytest_configure() -> None:
    """Keeps the keys of whoever runs the tests out of them: nothing is signed that does not say so.

    Properties are claimed of values, not of times: a busy machine must not make one fail.
    """
    settings.register_profile("edgepose", deadline=None)
    settings.load_profile("edgepose")
    os.environ["EDGEPOSE_KEYS_HOME"] = f"{os.devnull}/no-keys"
    # Some tests load ONNX Runtime before they load edgepose, which says the same.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    keep_mounts_private()
    leftovers.adopt_orphans()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips the tests whose real models and images are not beside the checkout."""
    if SHARED_DATA.is_dir():
        return
    reason = pytest.mark.skip(reason="needs the real models and images in ../shared/data")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(reason)


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The last to be torn down: whatever a test started, mounted or put aside has ended and is gone."""
    before, mounted = leftovers.descendants(os.getpid()), leftovers.mounts()
    temporary = tmp_path_factory.mktemp("temporary")
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    yield
    assert leftovers.ended_but_for(before) == {}, "processes that no test has ended"
    assert leftovers.mounts() <= mounted, "file systems that no test has unmounted"
    # TensorFlow removes its own when the process ends.
    left = [path for path in temporary.iterdir() if not path.name.startswith("__autograph_generated_file")]
    assert left == [], "temporary files that no test has removed"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and images."""
    return SHARED_DATA
