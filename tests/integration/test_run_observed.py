"""Telemetry and the socket beside a real run and a real, locked service: troubles of theirs stop no poses."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgepose.device.install.installer import install_bundle
from edgepose.device.monitor.reading import read_telemetry
from edgepose.device.monitor.store import TelemetryPlace
from edgepose.device.run.estimator_choice import EstimatorChoice
from edgepose.device.run.observers import telemetry_root
from edgepose.errors import ConfigError
from tests.support.bundle_fixtures import bundle_folder
from tests.support.pictures import write_pictures
from tests.support.telemetry import filled_store
from tests.support.waiting import PATIENCE_S, until

__all__ = ["bundle_folder"]

_FRAMES = 5


@pytest.fixture(name="root")
def _root(bundle_folder: Path, tmp_path: Path) -> Path:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root")
    return tmp_path / "root"


@pytest.fixture(name="pictures")
def _pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path / "pictures", _FRAMES)


def run(root: Path, pictures: Path, *more: object) -> subprocess.CompletedProcess[str]:
    """Ends well and wrote all poses, or the test fails."""
    output = root.parent / "poses.jsonl"
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", pictures, "--root", root]
    done = subprocess.run(
        [*map(str, command), "--output", str(output), "--force", *map(str, more)],
        capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(output.read_text().splitlines()) == _FRAMES
    return done


def test_a_run_of_an_installed_model_is_counted_and_the_next_one_too(root: Path, pictures: Path) -> None:
    run(root, pictures)
    run(root, pictures)
    report = read_telemetry(root)
    assert [window.frames for window in report.windows] == [_FRAMES, _FRAMES]
    assert [event.kind for event in report.events] == ["run_started", "run_ended"] * 2
    assert f"edgepose_frames_total {_FRAMES}\n" in (root / "var" / "telemetry.prom").read_text()


def test_without_telemetry_nothing_is_kept(root: Path, pictures: Path) -> None:
    run(root, pictures, "--no-telemetry")
    assert not TelemetryPlace(root).folder.exists()
    assert not TelemetryPlace(root).prometheus.exists()


def test_only_runs_of_an_installed_model_are_counted_unasked(root: Path, tmp_path: Path) -> None:
    assert telemetry_root(EstimatorChoice(root=root), wanted=None) == root
    assert telemetry_root(EstimatorChoice(root=root), wanted=False) is None
    assert telemetry_root(EstimatorChoice(root=root, model=tmp_path / "m.onnx"), wanted=None) is None
    assert telemetry_root(EstimatorChoice(root=tmp_path / "empty"), wanted=None) is None
    with pytest.raises(ConfigError):
        telemetry_root(EstimatorChoice(root=tmp_path / "empty"), wanted=True)


def test_a_damaged_database_costs_no_pose_and_is_said(root: Path, pictures: Path) -> None:
    filled_store(root, 3).close()
    place = TelemetryPlace(root)
    place.database.write_bytes(b"not what it was" * 500)
    done = run(root, pictures)
    assert "The telemetry database was damaged" in done.stderr
    assert place.damaged.read_bytes().startswith(b"not what it was")
    report = read_telemetry(root)
    assert report.windows[-1].frames == _FRAMES
    assert "store_renewed" in {event.kind for event in report.events}


def test_telemetry_that_cannot_be_written_costs_no_pose_and_is_said_once(root: Path, pictures: Path) -> None:
    # Nobody, not even root, makes a folder where a file is.
    folder = TelemetryPlace(root).folder
    folder.parent.mkdir(exist_ok=True)
    folder.write_bytes(b"in the way")
    done = run(root, pictures)
    assert done.stderr.count("Telemetry pauses, poses go on") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.timing
def test_a_locked_service_counts_and_streams(root: Path, tmp_path: Path) -> None:
    pictures, path = write_pictures(tmp_path / "many", 1), tmp_path / "poses.sock"
    (picture,) = pictures.iterdir()
    for number in range(1500):
        (pictures / f"more{number:04}{picture.suffix}").symlink_to(picture)
    command = [sys.executable, "-m", "edgepose.cli.device_main", "service", pictures, "--root", root]
    with (
        subprocess.Popen(
            [*map(str, command), "--socket", str(path)], stderr=subprocess.PIPE, env=os.environ
        ) as process,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as reader,
    ):
        until(lambda: path.exists() or process.poll() is not None, "the service's socket")
        reader.settimeout(PATIENCE_S)
        reader.connect(str(path))
        streamed = b""
        while piece := reader.recv(1 << 16):
            streamed += piece
        assert process.wait(PATIENCE_S) == 0
    assert json.loads((root / "var" / "running.json").read_text())["sandbox"]["enforced"] is True
    lines = [json.loads(line) for line in streamed.splitlines()]
    assert len(lines) > 100
    assert lines[-1]["frame"] == 1500
    assert sum(window.frames for window in read_telemetry(root).windows) == 1501
