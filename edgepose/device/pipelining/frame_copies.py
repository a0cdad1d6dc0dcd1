"""Pictures that outlive the source's next read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.picture_buffers import PictureBuffers


class FrameCopies:
    """Copies what would not last."""

    def __init__(self) -> None:
        self._buffers = PictureBuffers()

    def kept(self, frame: Frame) -> Frame:
        """A frame that stays as it is while somebody holds it; one that lasts anyway is not copied."""
        if frame.lasting:
            return frame
        buffer = self._buffers.take(frame.image.shape)
        np.copyto(buffer, frame.image)
        return replace(frame, image=buffer, lasting=True)
