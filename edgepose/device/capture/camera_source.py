"""A live camera: the newest frame wins, and what was thrown away is counted."""

from __future__ import annotations

import threading
import time
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.frame_source import SourceInfo
from edgepose.device.capture.picture_buffers import PictureBuffers
from edgepose.device.capture.picture_memory import PictureMemory
from edgepose.errors import DeviceError

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
        name: What messages and records call it.
        fps: What the camera says it delivers, or None.
        silence_limit_s: Without a frame for so long the camera counts as failed.
        pictures: Where delivered frames are put; memory of their own by default.
    """

    def __init__(
        self,
        device: VideoDevice,
        name: str,
        fps: float | None = None,
        silence_limit_s: float = SILENCE_LIMIT_S,
        pictures: PictureMemory | None = None,
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
        self._pictures = pictures or PictureBuffers()
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
        frame = Frame(rgb, timestamp_ns, self._index, dropped, lasting=True)
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
