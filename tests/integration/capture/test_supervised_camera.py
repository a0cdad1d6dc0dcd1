"""A real RTSP camera that is unplugged, stands still, hangs and changes: recovered or reported.

Within which times is decided by ``supervision.py`` and tested there, on a clock that no busy machine slows.
"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgepose.device.capture.source_address import parse_source
from edgepose.device.capture.supervised.supervised_source import SupervisedSource
from edgepose.device.capture.supervised.supervisor import CaptureOptions
from edgepose.errors import DeviceError
from tests.support.captures import (
    capture_pid,
    child_of,
    events_until,
    is_alive,
    kill_capture,
    read_frame,
    read_on,
)
from tests.support.rtsp_server import MISSING, RtspCamera, has_rtsp_server
from tests.support.waiting import growing_pauses, until

pytestmark = [
    pytest.mark.skipif(not has_rtsp_server(), reason=MISSING),
    pytest.mark.slow,
    pytest.mark.timing,
]
# A camera that comes back on a very busy machine is not given up meanwhile.
_PATIENT = {"give_up_s": 600.0}


@pytest.fixture(name="camera")
def _camera() -> Iterator[RtspCamera]:
    camera = RtspCamera()
    camera.plug()
    yield camera
    camera.unplug()


@pytest.fixture(name="said")
def _said() -> list[str]:
    return []


@pytest.fixture(name="source")
def _source(camera: RtspCamera, said: list[str]) -> Iterator[SupervisedSource]:
    source = SupervisedSource(parse_source(camera.url), CaptureOptions(say=said.append, limits_s=_PATIENT))
    yield source
    source.close()


def test_frames_come_new_in_order_and_with_the_time_of_their_capture(source: SupervisedSource) -> None:
    before_ns = time.monotonic_ns()
    info = source.info
    assert info.live
    assert info.fps == pytest.approx(30, abs=1)
    frames = [read_frame(source) for _ in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    stamps = [frame.timestamp_ns for frame in frames]
    assert stamps == sorted(set(stamps))
    assert before_ns < stamps[0]
    assert stamps[-1] < time.monotonic_ns()
    assert frames[0].size_wh == (320, 240)


def test_a_slow_reader_gets_the_present_and_the_count_of_what_it_missed(source: SupervisedSource) -> None:
    frame = read_frame(source)
    for pause_s in growing_pauses():
        begun_ns = time.monotonic_ns()
        time.sleep(pause_s)
        frame = read_frame(source)
        # A queue would give a picture of the pause's begin after any pause, and none would be missed.
        if frame.dropped_before >= 20 and frame.timestamp_ns - begun_ns > 0.5e9 * pause_s:
            return
    pytest.fail(f"{frame.dropped_before} missed, and the picture is of {frame.timestamp_ns - begun_ns} ns")


def test_an_unplugged_camera_is_said_at_once_and_back_when_it_is_plugged_in(
    source: SupervisedSource, camera: RtspCamera, said: list[str]
) -> None:
    read_frame(source)
    camera.unplug()
    until(lambda: source.read(0.2) is None and said, "the loss is said")
    assert "being opened again" in said[0]
    camera.plug()
    assert events_until(source, "recovered") == ["lost", "recovered"]
    assert "delivers frames again, after" in said[-1]


def test_a_killed_capture_process_is_started_again(source: SupervisedSource, said: list[str]) -> None:
    read_frame(source)
    first = capture_pid(source)
    kill_capture(source)
    assert events_until(source, "recovered") == ["lost", "recovered"]
    assert capture_pid(source) != first
    assert "was killed by signal 9" in said[0]


def test_a_capture_process_that_hangs_is_killed_and_started_again(
    source: SupervisedSource, said: list[str]
) -> None:
    read_frame(source)
    kill_capture(source, signal.SIGSTOP)
    events_until(source, "recovered")
    assert "delivers no frames" in said[0]


def test_pictures_that_are_held_survive_the_process_that_made_them(source: SupervisedSource) -> None:
    for _ in range(3):
        held = read_frame(source)
        before = held.image.copy()
        kill_capture(source)
        events_until(source, "recovered")
        assert np.array_equal(held.image, before)


def test_a_frozen_camera_is_said_and_opened_again_once(camera: RtspCamera, said: list[str]) -> None:
    camera.unplug()
    camera.plug("white")
    options = CaptureOptions(say=said.append, limits_s={"frozen_s": 1.0})
    source = SupervisedSource(parse_source(camera.url), options)
    kinds = events_until(source, "recovered")
    assert kinds == ["frozen", "lost", "recovered"]
    # It still shows the same: a white wall is no fault, and the picture goes on.
    kinds = events_until(source, "frozen")
    assert kinds == ["frozen"]
    pid = capture_pid(source)
    for _ in range(60):
        read_frame(source)
    assert capture_pid(source) == pid
    source.close()


def test_a_moving_picture_is_not_called_frozen(camera: RtspCamera, said: list[str]) -> None:
    source = SupervisedSource(
        parse_source(camera.url), CaptureOptions(say=said.append, limits_s={"frozen_s": 1.0})
    )
    first = read_frame(source)
    while read_frame(source).timestamp_ns - first.timestamp_ns < 4e9:
        pass
    assert said == []
    source.close()


def test_a_camera_that_comes_back_with_another_size_goes_on(
    source: SupervisedSource, camera: RtspCamera, said: list[str]
) -> None:
    assert read_frame(source).size_wh == (320, 240)
    camera.unplug()
    camera.plug(size_wh=(640, 480))
    # Which of the two is told first is a matter of which process was quicker.
    events_until(source, "size_changed", "recovered")
    assert read_frame(source).size_wh == (640, 480)
    assert any("changed its size from 320x240 to 640x480" in line for line in said)


def test_a_camera_that_does_not_come_back_is_one_sentence(camera: RtspCamera) -> None:
    source = SupervisedSource(parse_source(camera.url), CaptureOptions(limits_s={"give_up_s": 3.0}))
    read_frame(source)
    camera.unplug()
    with pytest.raises(DeviceError, match=r"127\.0\.0\.1"):
        read_on(source)
    source.close()


def test_a_camera_that_is_not_there_is_refused_at_once_and_waited_for_by_the_patient(
    camera: RtspCamera,
) -> None:
    camera.unplug()
    impatient = SupervisedSource(parse_source(camera.url))
    with pytest.raises(DeviceError, match="cannot be opened"):
        impatient.opened()
    impatient.close()
    source = SupervisedSource(parse_source(camera.url), CaptureOptions(patient=True))
    assert source.info.live
    assert source.read(2.0) is None
    camera.plug()
    read_frame(source)
    source.close()


def test_the_password_of_a_camera_stands_in_no_command_line(camera: RtspCamera) -> None:
    url = camera.url.replace("rtsp://", "rtsp://user:s3cret@")
    source = SupervisedSource(parse_source(url))
    read_frame(source)
    for pid in (source.supervisor_pid, capture_pid(source)):
        assert "s3cret" not in Path(f"/proc/{pid}/cmdline").read_text()
        assert "s3cret" not in Path(f"/proc/{pid}/environ").read_text()
    source.close()


def test_a_capture_process_has_its_one_connection_and_is_locked(source: SupervisedSource) -> None:
    read_frame(source)
    pid = capture_pid(source)
    # 2 is SECCOMP_MODE_FILTER, proc(5); what the filter refuses is tried in the tests of the lock.
    assert "Seccomp:\t2" in Path(f"/proc/{pid}/status").read_text()
    assert len(_connections(pid)) == 1


def _connections(pid: int) -> list[str]:
    links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    return [link for link in links if link.startswith("socket:")]


def test_an_ended_camera_leaves_no_process(source: SupervisedSource) -> None:
    read_frame(source)
    supervisor, child = source.supervisor_pid, capture_pid(source)
    source.close()
    assert child_of(supervisor) is None
    assert not is_alive(child)
    # The control: this process may still connect, so the lock was the other's alone.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
