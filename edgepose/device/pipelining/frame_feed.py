"""How frames come to the models: read when they are wanted, or read ahead by a thread."""

from __future__ import annotations

import threading
from typing import Protocol

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.frame_source import FrameSource
from edgepose.device.pipelining.frame_copies import FrameCopies
from edgepose.device.pipelining.hand_over import HandOver

_READ_AHEAD = 1
_JOIN_LIMIT_S = 5.0


class FrameFeed(Protocol):
    """Delivers a source's frames; see :class:`edgepose.device.capture.frame_source.FrameSource`."""

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        ...

    def read(self, wait_s: float) -> Frame | None:
        """Waits for the next frame, for about ``wait_s`` where the source is live.

        Raises:
            EdgeposeError: As the source raises.
        """
        ...

    def close(self) -> None:
        """Stops reading; the source stays open."""
        ...


class DirectFeed:
    """Reads when a frame is wanted.

    Right for a live source, whose newest frame must not grow old in a queue and which reads ahead by itself.

    Args:
        source: Where frames come from.
        copies: Keeps pictures beyond the next read; None where each is used up before.
    """

    def __init__(self, source: FrameSource, copies: FrameCopies | None = None) -> None:
        self._source = source
        self._copies = copies

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        return self._source.ended

    def read(self, wait_s: float) -> Frame | None:
        """Reads the next frame.

        Raises:
            EdgeposeError: As the source raises.
        """
        frame = self._source.read(wait_s)
        return frame if frame is None or self._copies is None else self._copies.kept(frame)

    def close(self) -> None:
        """There is nothing to stop."""


class ReadAheadFeed:
    """Reads the next frame while the models look at this one; none is lost, the order stays.

    Args:
        source: A file or folder; only this thread reads it from now on.
        copies: Keeps the pictures.
    """

    def __init__(self, source: FrameSource, copies: FrameCopies) -> None:
        self._source = source
        self._copies = copies
        self._frames: HandOver[Frame] = HandOver(_READ_AHEAD)
        self._failure: BaseException | None = None
        self._stopped = False
        self._ended = False
        self._thread = threading.Thread(target=self._read_all, name="read-ahead", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether the last frame was delivered."""
        return self._ended

    def read(self, wait_s: float) -> Frame | None:  # noqa: ARG002 (decoding takes what it takes)
        """Delivers the next frame; a failure comes after all frames that were read before it.

        Raises:
            EdgeposeError: As the source raises.
        """
        frame = self._frames.take()
        if frame is None:
            self._ended = True
            if self._failure is not None:
                raise self._failure
        return frame

    def close(self) -> None:
        """Ends the thread after the picture that it decodes."""
        self._stopped = True
        self._frames.end()
        self._thread.join(_JOIN_LIMIT_S)

    def _read_all(self) -> None:
        try:
            while not self._stopped and not self._source.ended:
                frame = self._source.read(1.0)
                if frame is not None and not self._frames.give(self._copies.kept(frame)):
                    return
        except BaseException as problem:  # noqa: BLE001 (raised again, in the thread that reads)
            self._failure = problem
        finally:
            self._frames.end()
