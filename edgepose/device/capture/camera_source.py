"""A live camera: the newest frame wins, and what was thrown away is counted."""

from __future__ import annotations

import importlib
import importlib.util
import os
import threading
import time
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.frame_source import Frame, ImageBuffers, ImageMemory, SourceInfo
from edgepose.device.capture.source_address import SourceAddress
from edgepose.errors import DeviceError
from edgepose.records.display_text import hide_logins

SILENCE_LIMIT_S = 20.0
_JOIN_LIMIT_S = 2.0


class VideoDevice(Protocol):
    """What ``cv2.VideoCapture`` offers and a camera needs."""

    def read(self) -> tuple[bool, Any]:
        """Blocks for the next picture: (True, uint8 (H, W, 3) BGR), or (False, None) when it failed."""
        ...

    def release(self) -> None:
        """Gives the camera back."""
        ...


class CameraSource:
    """Reads a camera in a thread of its own, so that a slow model sees the present, not the past.

    Args:
        device: The opened camera, which the source releases.
        fps: What the camera says it delivers, or None.
        silence_limit_s: Without a frame for so long the camera counts as failed.
    """

    def __init__(
        self,
        device: VideoDevice,
        name: str,
        fps: float | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
        pictures: ImageMemory | None = None,
    ) -> None:
        self._device = device
        self._info = SourceInfo(name, live=True, fps=fps)
        self._silence_limit_ns = int(silence_limit_s * 1e9)
        self._change = threading.Condition()
        self._newest: tuple[NDArray[np.uint8], int] | None = None
        self._dropped = 0
        self._index = 0
        self._failed = False
        self._closed = False
        self._last_frame_ns = time.monotonic_ns()
        self._captured = False
        self._pictures = pictures or ImageBuffers()
        self._thread = threading.Thread(target=self._keep_newest, name="camera", daemon=True)
        self._thread.start()

    @property
    def info(self) -> SourceInfo:
        """What the camera says about itself."""
        return self._info

    @property
    def newest_ns(self) -> int | None:
        """When the newest frame was captured, delivered or not; None before the first."""
        return self._last_frame_ns if self._captured else None

    @property
    def ended(self) -> bool:
        """Whether the source was closed; a camera never ends by itself, it fails."""
        return self._closed

    def read(self, wait_s: float) -> Frame | None:
        """Returns the newest frame that was not delivered yet.

        Raises:
            DeviceError: The camera failed or has been silent for too long.
        """
        with self._change:
            self._change.wait_for(lambda: self._newest or self._failed or self._closed, timeout=wait_s)
            if self._closed:
                return None
            if self._newest is None:
                self._check_alive()
                return None
            (image_bgr, timestamp_ns), self._newest = self._newest, None
            dropped, self._dropped = self._dropped, 0
        rgb = self._pictures.take(image_bgr.shape)
        cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB, dst=rgb)
        frame = Frame(rgb, timestamp_ns, self._index, dropped)
        self._index += 1
        return frame

    def close(self) -> None:
        """Stops the thread and releases the camera."""
        with self._change:
            if self._closed:
                return
            self._closed = True
            self._change.notify_all()
        # A driver that hangs in read() must not hang us: then the process's end releases the camera.
        self._thread.join(_JOIN_LIMIT_S)
        if not self._thread.is_alive():
            self._device.release()

    def _check_alive(self) -> None:
        if self._failed:
            raise DeviceError(f"{self._info.name} stopped delivering frames.", "Check its cable and power.")
        silent_ns = time.monotonic_ns() - self._last_frame_ns
        if silent_ns > self._silence_limit_ns:
            raise DeviceError(
                f"{self._info.name} has delivered no frame for {silent_ns / 1e9:.0f} s.",
                "Check its cable and power, and that no other program holds it.",
            )

    def _keep_newest(self) -> None:
        while not self._closed:
            delivered, image = self._device.read()
            timestamp_ns = time.monotonic_ns()
            with self._change:
                if not delivered or image is None:
                    self._failed = True
                    self._change.notify_all()
                    return
                self._dropped += self._newest is not None
                self._newest = (image, timestamp_ns)
                self._last_frame_ns = timestamp_ns
                self._captured = True
                self._change.notify_all()


_AV_LOG_QUIET = "-8"


def silence_native_messages() -> None:
    """Silences both libraries; FFmpeg reads its level once, at its first use by OpenCV."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


_RTSP_TIMEOUT_MS = 10_000


def open_camera(address: SourceAddress, pictures: ImageMemory | None = None) -> CameraSource:
    """Opens a live source.

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
        # Over UDP each lost packet harms images, and the camera chooses ports that no filter can know.
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
