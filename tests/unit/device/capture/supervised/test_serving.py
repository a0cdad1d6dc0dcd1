"""What a capture process tells its supervisor, and when."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from typing import Any

import pytest

from edgepose.device.capture.camera_source import CameraSource
from edgepose.device.capture.supervised.messages import CapturePipes, CaptureRequest, MessageKind, RequestKind
from edgepose.device.capture.supervised.serving import Server
from edgepose.device.capture.supervised.shared_images import WrittenImages
from edgepose.device.capture.supervised.supervisor import shared_memory
from edgepose.errors import DeviceError
from tests.support.pictures import level_picture


class _OneFrame:
    """A camera that fails after its first frame."""

    def __init__(self) -> None:
        self._left = 1

    def read(self) -> tuple[bool, Any]:
        self._left -= 1
        return (True, level_picture(1)) if self._left == 0 else (False, None)

    def release(self) -> None:
        pass


class _WatchedPipes(CapturePipes):
    """Notes for each report whether the reader had anything by then."""

    def report(self, kind: MessageKind, text: bytes = b"") -> bool:
        reader_has_something = bool(select.select([_READER[-1]], [], [], 0)[0])
        _NOTED.append((kind, reader_has_something))
        return super().report(kind, text)


_NOTED: list[tuple[MessageKind, bool]] = []
_READER: list[int] = []


def test_the_keeper_hears_of_the_first_frame_before_the_reader_has_it() -> None:
    """Else a camera that is lost at once would count as one that never delivered, and be given up."""
    pipes = [os.pipe() for _ in range(3)]
    (messages, said), (requests, asked), (_, told) = pipes
    memory = shared_memory()
    _READER.append(messages)
    given = _WatchedPipes(1, said, requests, memory, told, os.getpid())
    pictures = WrittenImages(memory)
    source = CameraSource(_OneFrame(), "played", pictures=pictures)
    server = Server(source, pictures, given, frozen_s=3600.0)
    # As if the loop had just looked and found nothing to tell; the next time it looks is too late.
    server._reported_s = float("inf")
    os.write(asked, 2 * CaptureRequest(RequestKind.WANT, 1).packed())
    try:
        with pytest.raises(DeviceError, match="stopped delivering"):
            server.serve()
    finally:
        source.close()
        for descriptor in (*(end for pipe in pipes for end in pipe), memory):
            with suppress(OSError):
                os.close(descriptor)
    assert _NOTED == [(MessageKind.FRAME, False)]
