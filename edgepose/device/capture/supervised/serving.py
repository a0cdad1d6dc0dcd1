"""The loop of a capture process: frames when the reader asks, the newest of a camera, each of a file."""

from __future__ import annotations

import time
import zlib

import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.camera_source import CameraSource
from edgepose.device.capture.frame_source import Frame, FrameSource
from edgepose.device.capture.supervised.messages import (
    REQUEST_BYTES,
    CaptureMessage,
    CapturePipes,
    CaptureRequest,
    MessageKind,
    RecordReader,
    RequestKind,
    write_record,
)
from edgepose.device.capture.supervised.shared_images import WrittenImages

_IDLE_S = 0.1
_REPORT_EVERY_S = 0.5
# A camera's noise reaches every row, so a few of them tell one image from the next; drawn ones may not.
_SAMPLED_ROWS = 16


class FrozenWatch:
    """Notices that a camera shows the very same image."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._last: tuple[int, int | None] = (-1, None)
        self._since_s = 0.0
        self._told = False

    def looks(self, image: NDArray[np.uint8], now_s: float) -> bool:
        """Takes an image; true once, when it has been the same for too long."""
        step = max(image.shape[0] // _SAMPLED_ROWS, 1)
        sampled = zlib.crc32(image[::step].tobytes())
        # The whole image is only looked at where the sample has not changed.
        whole = zlib.crc32(image.tobytes()) if sampled == self._last[0] else None
        if sampled != self._last[0] or (self._last[1] is not None and whole != self._last[1]):
            self._since_s, self._told = now_s, False
        self._last = (sampled, whole)
        if self._told or now_s - self._since_s < self._limit_s:
            return False
        self._told = True
        return True


class Server:
    """Serves one source until the reader is gone or the source ends.

    Args:
        source: Opened; it takes its memory from ``pictures``.
        frozen_s: A camera that shows the very same image for so long is frozen.
    """

    def __init__(
        self, source: FrameSource, images: WrittenImages, pipes: CapturePipes, frozen_s: float
    ) -> None:
        self._source, self._pictures, self._pipes = source, images, pipes
        self._camera = source if isinstance(source, CameraSource) else None
        self._frozen = FrozenWatch(frozen_s)
        self._requests = RecordReader(pipes.requests, REQUEST_BYTES)
        self._wanted = 0
        self._reported_s = 0.0
        self._reported_ns = 0

    def serve(self) -> None:
        """Runs.

        Raises:
            EdgeposeError: As the source raises.
        """
        while True:
            ready = self._wanted > 0 and self._pictures.has_room
            if not ready:
                self._requests.wait(_IDLE_S)
            self._take_requests()
            if self._requests.ended or not self._report_alive():
                return
            if not (self._wanted and self._pictures.has_room):
                continue
            frame = self._source.read(_IDLE_S)
            if frame is not None:
                self._deliver(frame)
            elif self._source.ended:
                self._pipes.say(MessageKind.ENDED)
                return

    def _take_requests(self) -> None:
        for record in self._requests.records():
            request = CaptureRequest.unpacked(record)
            if request.generation != self._pipes.generation:
                continue
            if request.kind == RequestKind.WANT:
                self._wanted += 1
            else:
                self._pictures.release(request.slot)

    def _deliver(self, frame: Frame) -> None:
        slot = self._pictures.granted(frame.image)
        message = CaptureMessage(
            MessageKind.FRAME,
            self._pipes.generation,
            slot.number,
            *frame.size_wh,
            frame.dropped_before,
            slot.offset,
            frame.timestamp_ns,
        )
        if not self._reported_ns:
            # The supervisor hears of the first frame before the reader gets it: a camera that is lost a
            # moment later has delivered, and is opened again.
            self._report_captured()
        write_record(self._pipes.messages, message.packed())
        self._wanted -= 1
        if self._camera is not None and self._frozen.looks(frame.image, time.monotonic()):
            self._pipes.report(MessageKind.EVENT)

    def _report_alive(self) -> bool:
        """Tells the supervisor that frames come, which is not the same as this loop going round."""
        now_s = time.monotonic()
        if now_s - self._reported_s < _REPORT_EVERY_S:
            return True
        self._reported_s = now_s
        return self._report_captured()

    def _report_captured(self) -> bool:
        if self._camera is None:
            return True
        captured_ns = self._camera.newest_ns
        if captured_ns is None or captured_ns == self._reported_ns:
            return True
        self._reported_ns = captured_ns
        return self._pipes.report(MessageKind.FRAME)
