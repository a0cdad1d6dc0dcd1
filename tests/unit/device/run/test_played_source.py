"""A video played as a camera: on a clock of the test's own."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.device.capture.frame_source import Frame, SourceInfo
from edgepose.device.run.benchmark import PlayClock, PlayedSource
from edgepose.errors import ConfigError

PERIOD_NS = 100_000_000


class Time:
    def __init__(self) -> None:
        self.ns = 0

    def now(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class Video:
    """Twenty frames, each decoded in ``decode_s``."""

    def __init__(self, time: Time, decode_s: float = 0.0, fps: float | None = 10.0) -> None:
        self.info = SourceInfo("video.mp4", live=False, fps=fps)
        self._time, self._decode_s, self._index = time, decode_s, 0

    @property
    def ended(self) -> bool:
        return self._index == 20

    def read(self, wait_s: float) -> Frame | None:  # noqa: ARG002
        if self.ended:
            return None
        self._time.pass_s(self._decode_s)
        self._index += 1
        return Frame(np.zeros((2, 2, 3), np.uint8), self._time.ns, self._index - 1)

    def close(self) -> None:
        self._index = 20


def play(models_s: float, decode_s: float = 0.0) -> tuple[list[Frame], list[float]]:
    """Frames, and how old each is when the models are done."""
    time = Time()
    source = PlayedSource(Video(time, decode_s), PlayClock(time.now, time.pass_s))
    frames, ages_s = [], []
    while not source.ended:
        frame = source.read(1.0)
        assert frame is not None
        time.pass_s(models_s)
        frames.append(frame)
        ages_s.append((time.ns - frame.timestamp_ns) / 1e9)
    return frames, ages_s


def test_fast_models_see_every_frame_when_it_is_due() -> None:
    frames, ages_s = play(models_s=0.03)
    assert len(frames) == 20
    assert np.diff([frame.timestamp_ns for frame in frames]).tolist() == [PERIOD_NS] * 19
    assert ages_s == pytest.approx([0.03] * 20)


def test_slow_models_get_the_newest_frame_and_every_other_is_counted() -> None:
    frames, ages_s = play(models_s=0.25)
    assert len(frames) + sum(frame.dropped_before for frame in frames) == 20
    assert len(frames) < 10
    assert max(ages_s) < 0.25 + 0.1 + 0.01
    assert [frame.index for frame in frames] == list(range(len(frames)))


def test_a_slow_decoder_makes_no_frame_old() -> None:
    frames, ages_s = play(models_s=0.01, decode_s=0.3)
    assert len(frames) == 20
    assert max(ages_s) == pytest.approx(0.01)


def test_a_folder_of_pictures_has_no_rate() -> None:
    with pytest.raises(ConfigError, match="no rate"):
        PlayedSource(Video(Time(), fps=None))
