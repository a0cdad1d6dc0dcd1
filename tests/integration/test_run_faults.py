"""A live run is stopped, killed and robbed of its pictures: whole files, no orphan, one clear line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgepose.device.install.installer import install_bundle
from edgepose.device.monitor.reading import read_telemetry
from tests.support.bundle_fixtures import bundle_folder
from tests.support.pictures import write_pictures
from tests.support.rtsp_server import MISSING, RtspCamera, has_rtsp_server
from tests.support.waiting import PATIENCE_S, until

__all__ = ["bundle_folder"]

pytestmark = [pytest.mark.slow, pytest.mark.timing]
needs_camera = pytest.mark.skipif(not has_rtsp_server(), reason=MISSING)


@pytest.fixture(name="camera")
def _camera() -> Iterator[RtspCamera]:
    camera = RtspCamera()
    camera.plug()
    yield camera
    camera.unplug()


@pytest.fixture(name="root")
def _root(bundle_folder: Path, tmp_path: Path) -> Path:
    install_bundle(bundle_folder / "version1.epb", tmp_path / "root")
    return tmp_path / "root"


@contextmanager
def running(source: object, root: Path, lines: int = 5) -> Iterator[subprocess.Popen[str]]:
    """A run with everything switched on, after its first lines."""
    poses = root.parent / "poses.jsonl"
    command = [sys.executable, "-m", "edgepose.cli.device_main", "run", source, "--root", root]
    command += ["--output", poses, "--socket", root.parent / "poses.sock", "--live-page", "--port", 0]
    with subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE, text=True) as process:

        def has_begun() -> bool:
            assert process.poll() is None
            return poses.exists() and poses.read_bytes().count(b"\n") >= lines

        try:
            until(has_begun, "the first lines")
            yield process
        finally:
            process.kill()


def family(process_id: int) -> set[int]:
    """A process and all that came from it."""
    found = {process_id}
    for task in Path(f"/proc/{process_id}/task").iterdir():
        for child in (task / "children").read_text().split():
            found |= family(int(child))
    return found


def are_gone(members: set[int]) -> bool:
    """Whether none of them runs any more; a zombie waits for its parent and runs no more."""
    for member in members:
        try:
            state = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            return False
    return True


def whole_lines(path: Path) -> int:
    """How many lines; a torn one fails."""
    text = path.read_text()
    assert text.endswith("\n")
    return len([json.loads(line) for line in text.splitlines()])


@needs_camera
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_in_mid_frame_ends_a_live_run_well(camera: RtspCamera, root: Path, number: int) -> None:
    with running(camera.url, root) as process:
        members = family(process.pid)
        # Run, supervisor, capture process, socket, page.
        assert len(members) == 5
        process.send_signal(number)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert are_gone(members)
    frames = whole_lines(root.parent / "poses.jsonl")
    report = read_telemetry(root)
    assert sum(window.frames for window in report.windows) == frames
    assert [event.kind for event in report.events][-1] == "run_ended"


@needs_camera
def test_a_killed_live_run_leaves_no_process_and_whole_files(camera: RtspCamera, root: Path) -> None:
    with running(camera.url, root, lines=40) as process:
        members = family(process.pid)
        assert len(members) == 5
        os.kill(process.pid, signal.SIGKILL)
        process.wait(PATIENCE_S)
        until(lambda: are_gone(members), "all processes are gone")
    assert whole_lines(root.parent / "poses.jsonl") >= 40
    (root.parent / "poses.jsonl").unlink()
    # What was running is lost; the next run takes the place of the killed one, socket included.
    with running(camera.url, root) as process:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    kinds = [event.kind for event in read_telemetry(root).events]
    assert kinds.count("run_started") == 2
    assert kinds.count("run_ended") == 1


def test_pictures_that_are_removed_while_they_are_read_end_the_run_with_one_line(
    root: Path, tmp_path: Path
) -> None:
    folder = write_pictures(tmp_path / "pictures", 1)
    (picture,) = folder.iterdir()
    names = [f"more{number:05}{picture.suffix}" for number in range(20_000)]
    for name in names:
        (folder / name).symlink_to(picture)
    with running(folder, root) as process:
        (folder / names[-1]).unlink()
        (folder / names[-2]).unlink()
        picture.unlink()
        _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    assert sum("more" in line for line in errors.splitlines()) == 1, errors
    frames = whole_lines(root.parent / "poses.jsonl")
    assert 5 <= frames < len(names)
    assert sum(window.frames for window in read_telemetry(root).windows) == frames
