"""``edgepose-device service``: locked in before its first frame, and seen so by ``status``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.device.install.installed import read_status
from edgepose.device.install.installer import install_bundle
from edgepose.device.run.service import ServicePermissions, ServiceRequest, run_service
from edgepose.errors import ConfigError, DeviceError
from tests.support.bundle_fixtures import bundle_folder
from tests.support.pictures import write_pictures
from tests.support.waiting import PATIENCE_S, until

__all__ = ["bundle_folder"]


@pytest.fixture(name="root")
def _root(bundle_folder: Path, tmp_path: Path) -> Path:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root")
    return tmp_path / "root"


def call(root: Path, source: object, *more: object) -> list[str]:
    program = [sys.executable, "-m", "edgepose.cli.device_main", "service", source, "--root", root, *more]
    return [str(word) for word in program]


def test_the_service_runs_to_its_end_locked_in(root: Path, tmp_path: Path) -> None:
    pictures, poses = write_pictures(tmp_path / "pictures", 3), tmp_path / "poses.jsonl"
    done = subprocess.run(
        call(root, pictures, "--output", poses),
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    assert len(poses.read_text().splitlines()) == 3
    noted = json.loads((root / "var" / "running.json").read_text())
    assert noted["sandbox"]["enforced"] is True
    # Nothing runs any more, so nothing is enforced.
    assert read_status(root).sandbox.enforced is False


@pytest.mark.timing
def test_every_thread_of_a_running_service_is_locked_and_status_says_so(root: Path, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", 1)
    (picture,) = pictures.iterdir()
    for number in range(1500):
        (pictures / f"more{number:04}{picture.suffix}").symlink_to(picture)
    with subprocess.Popen(call(root, pictures), stderr=subprocess.DEVNULL) as process:
        try:
            until(
                lambda: read_status(root).sandbox.enforced or process.poll() is not None,
                "a locked service",
                last=lambda: read_status(root).sandbox,
            )
            assert process.poll() is None
            modes = {
                line
                for task in Path(f"/proc/{process.pid}/task").iterdir()
                for line in (task / "status").read_text().splitlines()
                if line.startswith("Seccomp:")
            }
            # SECCOMP_MODE_FILTER, proc(5); this process, the negative control, has none.
            assert modes == {"Seccomp:\t2"}
            assert "Seccomp:\t0" in Path("/proc/self/status").read_text()
        finally:
            os.kill(process.pid, signal.SIGTERM)
    assert process.returncode == 0


def test_a_network_camera_is_refused_unless_it_is_allowed(root: Path) -> None:
    request = ServiceRequest("rtsp://10.0.0.9/live", root)
    with pytest.raises(DeviceError, match="keeps the process that reads it from other addresses"):
        run_service(request, lambda: True, lambda _line: None)


def test_a_network_camera_with_a_name_is_refused_even_then(root: Path) -> None:
    request = ServiceRequest("rtsp://camera/live", root, permissions=ServicePermissions(network_camera=True))
    with pytest.raises(ConfigError, match="needs a name server"):
        run_service(request, lambda: True, lambda _line: None)
