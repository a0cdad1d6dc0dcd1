"""A network camera in a unit of its own: met in a folder, without a socket, whichever side starts first."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgepose.device.capture.source_address import parse_source
from edgepose.device.capture.supervised import shared_images as shared_folder
from edgepose.device.capture.supervised.shared_camera import require_filtered, share_camera
from edgepose.device.capture.supervised.shared_images import SharedFolder
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.errors import ConfigError, DeviceError
from tests.support.captures import child_of, is_alive, read_frame
from tests.support.rtsp_server import MISSING, RtspCamera, has_rtsp_server
from tests.support.waiting import PATIENCE_S, until

needs_camera = pytest.mark.skipif(not has_rtsp_server(), reason=MISSING)


class _Unit:
    """The program that the unit of a camera runs."""

    def __init__(self, camera: RtspCamera, folder: Path) -> None:
        self._camera, self.folder = camera, folder
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> subprocess.Popen[bytes]:
        address = self.folder.with_suffix(".url")
        address.write_text(f"{self._camera.url}\n")
        address.chmod(0o600)
        words = ["camera", "--address-file", str(address), "--share", str(self.folder), *more]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "edgepose.cli.device_main", *words], stderr=subprocess.PIPE
        )
        return self.process

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@pytest.fixture(name="unit")
def _unit(tmp_path: Path) -> Iterator[_Unit]:
    camera = RtspCamera()
    camera.plug()
    unit = _Unit(camera, tmp_path / "shared")
    yield unit
    unit.kill()
    camera.unplug()


def _read(unit: _Unit, said: list[str]) -> SupervisedSource:
    return SupervisedSource(parse_source(f"shared://{unit.folder}"), CaptureOptions(say=said.append))


@needs_camera
@pytest.mark.slow
@pytest.mark.timing
def test_either_side_may_be_started_again_and_frames_go_on(unit: _Unit) -> None:
    said: list[str] = []
    source = _read(unit, said)
    # Nobody is there yet: the reader waits.
    assert source.read(0.5) is None
    process = unit.start("--allow-network-camera")
    held = read_frame(source)
    copy = held.image.copy()
    assert held.size_wh == (320, 240)
    capture = child_of(process.pid)
    assert capture is not None
    unit.kill()
    until(lambda: not is_alive(capture), "the capture process ended with its unit")
    until(lambda: source.read(0.2) is None and said, "the loss is said")
    assert "is gone; it is waited for" in said[0]
    unit.start("--allow-network-camera")
    frame = read_frame(source)
    assert [event.kind for event in frame.events] == ["lost"]
    assert (held.image == copy).all()
    source.close()
    # The other way round: a new reader, the same unit.
    again = _read(unit, said)
    read_frame(again)
    again.close()


@needs_camera
@pytest.mark.slow
@pytest.mark.timing
def test_while_nobody_reads_the_camera_is_closed_and_a_second_reader_is_refused(unit: _Unit) -> None:
    process = unit.start("--allow-network-camera")
    source = _read(unit, [])
    read_frame(source)
    with pytest.raises(DeviceError, match="another program reads it"):
        _read(unit, [])
    source.close()
    until(lambda: child_of(process.pid) is None, "the camera is closed")


@needs_camera
@pytest.mark.slow
@pytest.mark.timing
def test_a_reader_that_comes_before_the_unit_has_seen_the_one_before_leave_gets_frames(unit: _Unit) -> None:
    process = unit.start("--allow-network-camera")
    source = _read(unit, [])
    read_frame(source)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        source.close()
        again = _read(unit, [])
    finally:
        os.kill(process.pid, signal.SIGCONT)
    read_frame(again)
    again.close()


@needs_camera
def test_a_unit_that_could_reach_others_is_refused_with_exit_code_9(unit: _Unit) -> None:
    process = unit.start()
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 9
    assert b"can reach other addresses than the camera's" in errors
    assert b"--allow-network-camera" in errors


@needs_camera
@pytest.mark.slow
@pytest.mark.timing
def test_the_capture_process_is_locked_once_the_camera_is_open(unit: _Unit) -> None:
    process = unit.start("--allow-network-camera")
    source = _read(unit, [])
    read_frame(source)
    capture = child_of(process.pid)
    # 2 is SECCOMP_MODE_FILTER, proc(5).
    assert "Seccomp:\t2" in Path(f"/proc/{capture}/status").read_text()
    os.kill(process.pid, signal.SIGTERM)
    process.wait(PATIENCE_S)
    source.close()


def test_the_probe_sees_an_open_way_and_that_it_is_closed() -> None:
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1 answered"):
        require_filtered("192.0.2.1")
    with pytest.raises(DeviceError, match=r"127\.0\.0\.2 answered"):
        require_filtered("127.0.0.1")
    refused = _in_a_network_without_loopback(lambda: require_filtered("192.0.2.1"))
    if refused is None:
        pytest.skip("this kernel makes no network namespace for this user")
    assert refused == "went on"


def _in_a_network_without_loopback(act: Callable[[], None]) -> str | None:
    """Runs it in a thread with a network of its own, in which no packet arrives anywhere."""
    outcome: list[str | None] = []

    def run() -> None:
        # CLONE_NEWNET, include/uapi/linux/sched.h; Python offers it from 3.12 on.
        if ctypes.CDLL(None).unshare(0x40000000) != 0:
            outcome.append(None)
            return
        act()
        outcome.append("went on")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


@pytest.mark.parametrize("text", ["v4l2:///dev/video0", "rtsp://camera/live"])
def test_only_a_network_camera_with_a_number_is_shared(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"network camera|name server"):
        share_camera(parse_source(text), tmp_path, unfiltered=True)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="Cannot share a camera in"):
        share_camera(parse_source("rtsp://127.0.0.1/s"), tmp_path / "file", unfiltered=True)


def test_a_folder_without_a_camera_keeps_the_reader_waiting_without_work(tmp_path: Path) -> None:
    source = SupervisedSource(parse_source(f"shared://{tmp_path}"))
    assert source.info.live
    assert source.read(1.0) is None
    source.close()
    # Nothing was left that would hold a port or a pipe.
    assert not list(tmp_path.iterdir())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))


def test_a_folder_that_is_not_given_to_this_user_yet_is_waited_for_and_not_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Systemd makes a unit's folder first and gives it to the unit's user then; root may enter it anyway."""
    refused = PermissionError(errno.EACCES, "Permission denied")

    def denied(*_arguments: object) -> int:
        raise refused

    folder = SharedFolder(parse_source(f"shared://{tmp_path}"))
    with monkeypatch.context() as patched:
        patched.setattr(os, "open", denied)
        assert folder.lost(silent=False) is None
        patched.setattr(shared_folder, "_DENIED_LIMIT_S", 0.0)
        problem = folder.lost(silent=False)
    assert problem is not None
    assert "Permission denied" in problem.message
    folder.close()
