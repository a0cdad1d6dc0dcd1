"""A video that comes as from a camera: at its own rate, the newest frame wins."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.frame_source import FrameSource, SourceInfo
from edgepose.errors import ConfigError


@dataclass(frozen=True)
class PlayClock:
    """What plays; a test has another one.

    Attributes:
        now_ns: ``time.monotonic_ns``.
        sleep: ``time.sleep``.
    """

    now_ns: Callable[[], int] = time.monotonic_ns
    sleep: Callable[[float], None] = time.sleep


class PlayedSource:
    """Plays a video.

    A frame counts as captured when it is due. Where the decoder is slower than the video, the video waits for
    it: a camera has no such lag, and the models did not cause it.

    Args:
        video: The video.
        clock: Time.

    Raises:
        ConfigError: The source is no video: it has no rate.
    """

    def __init__(self, video: FrameSource, clock: PlayClock | None = None) -> None:
        info = video.info
        if info.live or not info.fps:
            raise ConfigError(
                f"{info.name} has no rate at which it could be played.", "Give a video or a camera."
            )
        self.info = SourceInfo(info.name, live=True, fps=info.fps)
        self._video = video
        self._clock = clock or PlayClock()
        self._period_ns = round(1e9 / info.fps)
        self._next_due_ns: int | None = None
        self._pending: Frame | None = None
        self._delivered = 0

    @property
    def ended(self) -> bool:
        """Whether no further frame will come."""
        return self._pending is None and self._video.ended

    def read(self, wait_s: float) -> Frame | None:
        """The newest frame that is due, or the next as soon as it is.

        Args:
            wait_s: Longest wait.

        Raises:
            EdgeposeError: As the video raises.
        """
        dropped = 0
        frame = self._pending or self._decoded()
        while frame is not None and self._clock.now_ns() >= frame.timestamp_ns + self._period_ns:
            newer = self._decoded()
            if newer is None:
                break
            frame, dropped = newer, dropped + 1
        self._pending = None
        if frame is None:
            return None
        frame = replace(frame, dropped_before=frame.dropped_before + dropped)
        ahead_s = (frame.timestamp_ns - self._clock.now_ns()) / 1e9
        if ahead_s > 0:
            self._clock.sleep(min(ahead_s, wait_s))
        if ahead_s > wait_s:
            self._pending = frame
            return None
        self._delivered += 1
        return replace(frame, index=self._delivered - 1)

    def close(self) -> None:
        """Closes the video; closing twice is harmless."""
        self._pending = None
        self._video.close()

    def _decoded(self) -> Frame | None:
        """The next frame of the video, with the moment at which it is due."""
        asked_ns = self._clock.now_ns()
        frame = self._video.read(1.0)
        if frame is None:
            return None
        here_ns = self._clock.now_ns()
        due_ns = here_ns if self._next_due_ns is None else self._next_due_ns
        # Late is what the decoder took beyond the moment, not what the models took before they asked.
        due_ns += max(0, here_ns - max(due_ns, asked_ns))
        self._next_due_ns = due_ns + self._period_ns
        return replace(frame, timestamp_ns=due_ns)
