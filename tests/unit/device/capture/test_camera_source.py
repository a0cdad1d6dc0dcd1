"""A live camera, played by a device behind the same protocol."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from edgepose.device.capture.camera_source import CameraSource, open_camera
from edgepose.device.capture.frame_source import Frame
from edgepose.device.capture.source_address import parse_source
from edgepose.errors import DeviceError
from tests.support.pictures import level_picture
from tests.support.waiting import PATIENCE_S, until

pytestmark = pytest.mark.timing


class _PlayedCamera:
    """Delivers a frame each time it is told to; then fails or stays silent."""

    def __init__(self, frames: int, *, fail_at_end: bool) -> None:
        self._left = frames
        self._fail_at_end = fail_at_end
        self._level = 0
        self.released = threading.Event()
        self.may_deliver = threading.Semaphore(0)

    def read(self) -> tuple[bool, Any]:
        if self._left == 0:
            if not self._fail_at_end:
                # A camera that blocks for ever: read() returns only because the test must end.
                self.released.wait(1.0)
            return False, None
        self.may_deliver.acquire(timeout=PATIENCE_S)
        self._left -= 1
        self._level += 1
        return True, level_picture(self._level)

    def release(self) -> None:
        self.released.set()


def _play(source: CameraSource, camera: _PlayedCamera, count: int) -> None:
    for _ in range(count):
        before = source.newest_ns
        camera.may_deliver.release()
        # The source's thread stores a frame just after the camera delivered it.
        until(lambda before=before: source.newest_ns != before, "the source has the frame")


def _read(source: CameraSource) -> Frame:
    frame = source.read(PATIENCE_S)
    assert frame is not None
    return frame


def test_the_newest_frame_wins_and_the_dropped_are_counted() -> None:
    camera = _PlayedCamera(9, fail_at_end=False)
    source = CameraSource(camera, "played")
    _play(source, camera, 1)
    first = _read(source)
    _play(source, camera, 4)
    second = _read(source)
    _play(source, camera, 1)
    third = _read(source)
    assert [int(f.image[0, 0, 0]) for f in (first, second, third)] == [1, 5, 6]
    assert [f.dropped_before for f in (first, second, third)] == [0, 3, 0]
    assert [f.index for f in (first, second, third)] == [0, 1, 2]
    assert first.timestamp_ns < second.timestamp_ns < third.timestamp_ns
    assert source.info.live
    source.close()


def test_no_frame_in_time_is_none_and_no_error() -> None:
    source = CameraSource(_PlayedCamera(1, fail_at_end=False), "played")
    assert source.read(0.05) is None
    assert not source.ended
    source.close()


def test_a_camera_that_fails_is_a_device_error_after_its_last_frame() -> None:
    camera = _PlayedCamera(1, fail_at_end=True)
    source = CameraSource(camera, "camera 3")
    _play(source, camera, 1)
    assert _read(source).index == 0
    with pytest.raises(DeviceError, match="camera 3 stopped delivering frames"):
        source.read(1.0)
    source.close()


def test_a_silent_camera_is_a_device_error() -> None:
    source = CameraSource(_PlayedCamera(1, fail_at_end=False), "camera 3", silence_limit_s=0.1)
    with pytest.raises(DeviceError, match="has delivered no frame"):
        until(lambda: source.read(0.01), "an error")
    source.close()


def test_closing_releases_the_camera_and_ends_the_source() -> None:
    camera = _PlayedCamera(1, fail_at_end=False)
    source = CameraSource(camera, "played")
    camera.may_deliver.release()
    source.close()
    source.close()
    assert source.ended
    assert source.read(0.01) is None
    assert camera.released.is_set()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("63", "There is no camera at /dev/video63"),
        ("v4l2:///dev/edgepose-none", "There is no camera at /dev/edgepose-none"),
        ("csi://0", "needs an OpenCV with GStreamer, which is not on this machine"),
        ("picamera2://0", "needs the library picamera2, which is not on this machine"),
    ],
)
def test_a_camera_that_is_not_there_is_exit_code_9(text: str, reason: str) -> None:
    with pytest.raises(DeviceError, match=reason) as caught:
        open_camera(parse_source(text))
    assert caught.value.exit_code == 9


def test_an_unreachable_network_camera_is_named_without_its_password() -> None:
    # Port 9 of this machine: refused at once.
    with pytest.raises(DeviceError, match=r"rtsp://127\.0\.0\.1:9 cannot be opened") as caught:
        open_camera(parse_source("rtsp://user:s3cret@127.0.0.1:9/s"))
    assert "s3cret" not in str(caught.value)
