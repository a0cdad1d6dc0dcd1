"""Opens the cameras that this machine's libraries can reach."""

from __future__ import annotations

import importlib
import importlib.util
import os
from pathlib import Path
from typing import Any

import cv2

from edgepose.device.capture.camera_source import CameraSource
from edgepose.device.capture.native_messages import silence_native_messages
from edgepose.device.capture.picture_memory import PictureMemory
from edgepose.device.capture.source_address import SourceAddress
from edgepose.errors import DeviceError
from edgepose.spec.url_login import hide_logins

_RTSP_TIMEOUT_MS = 10_000


def open_camera(address: SourceAddress, pictures: PictureMemory | None = None) -> CameraSource:
    """Opens a live source.

    Args:
        address: What to open.
        pictures: Where frames are put; memory of their own by default.

    Raises:
        DeviceError: There is no such camera, or the library that reaches it is not on this machine.
    """
    if address.kind == "picamera2":
        return CameraSource(_open_picamera2(address), address.shown, pictures=pictures)
    capture = _open_capture(address)
    if not capture.isOpened():
        capture.release()
        raise DeviceError(f"{address.shown} cannot be opened.", _hint(address))
    fps = float(capture.get(cv2.CAP_PROP_FPS))
    return CameraSource(capture, address.shown, fps if 0 < fps <= 1000 else None, pictures=pictures)


def _open_capture(address: SourceAddress) -> cv2.VideoCapture:
    silence_native_messages()
    if address.kind == "rtsp":
        timeouts = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, cv2.CAP_PROP_READ_TIMEOUT_MSEC)
        options = [value for key in timeouts for value in (key, _RTSP_TIMEOUT_MS)]
        # Over UDP each lost packet harms pictures, and the camera chooses ports that no filter can know.
        os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "rtsp_transport;tcp"
        return cv2.VideoCapture(address.reveal(), cv2.CAP_FFMPEG, options)
    if address.kind == "csi":
        return _open_csi(address)
    path = Path(address.location if address.kind == "v4l2" else f"/dev/video{address.camera_index}")
    if not path.exists():
        raise DeviceError(f"There is no camera at {path}.", _hint(address))
    return cv2.VideoCapture(str(path), cv2.CAP_V4L2)


def _open_csi(address: SourceAddress) -> cv2.VideoCapture:
    """A Jetson's CSI camera through NVIDIA's Argus plugin; not verified on a real Jetson yet."""
    if not _opencv_has_gstreamer():
        raise DeviceError(
            f"{address.shown} needs an OpenCV with GStreamer, which is not on this machine.",
            "On a Jetson use the system's OpenCV (python3-opencv); PyPI's has no GStreamer.",
        )
    pipeline = (
        f"nvarguscamerasrc sensor-id={address.camera_index} ! video/x-raw(memory:NVMM) ! nvvidconv ! "
        "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! appsink drop=true max-buffers=1"
    )
    return cv2.VideoCapture(pipeline, cv2.CAP_GSTREAMER)


def _opencv_has_gstreamer() -> bool:
    lines = [line.split(":", 1)[-1] for line in cv2.getBuildInformation().splitlines() if "GStreamer" in line]
    return any("YES" in line for line in lines)


class _Picamera2Device:
    """A Raspberry Pi camera; not verified on a real one yet."""

    def __init__(self, camera: Any) -> None:
        self._camera = camera
        # libcamera names the bytes from the highest: its RGB888 lies in memory as B, G, R.
        self._camera.configure(camera.create_video_configuration(main={"format": "RGB888"}))
        self._camera.start()

    def read(self) -> tuple[bool, Any]:
        return True, self._camera.capture_array("main")

    def release(self) -> None:
        self._camera.stop()
        self._camera.close()


def _open_picamera2(address: SourceAddress) -> _Picamera2Device:
    if importlib.util.find_spec("picamera2") is None:
        raise DeviceError(
            f"{address.shown} needs the library picamera2, which is not on this machine.",
            "It comes with Raspberry Pi OS: sudo apt install python3-picamera2",
        )
    library: Any = importlib.import_module("picamera2")
    try:
        return _Picamera2Device(library.Picamera2(address.camera_index))
    except (RuntimeError, IndexError) as problem:
        raise DeviceError(
            f"{address.shown} cannot be opened: {hide_logins(str(problem))}.", _hint(address)
        ) from problem


def _hint(address: SourceAddress) -> str:
    if address.kind == "rtsp":
        return "Check that the camera is reachable and that user name, password and path are right."
    return "List cameras with: ls /dev/video*; the user must be in the group 'video'."
