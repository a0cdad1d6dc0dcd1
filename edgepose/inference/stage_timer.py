"""Time per stage of one frame, on the one clock for intervals."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, get_args

Stage = Literal["detect", "preprocess", "infer", "decode"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class StageTimer:
    """Adds up nanoseconds per stage since the last ``reset``."""

    def __init__(self) -> None:
        self.elapsed_ns: dict[Stage, int] = dict.fromkeys(STAGES, 0)

    def reset(self) -> None:
        """Starts a new frame."""
        for stage in STAGES:
            self.elapsed_ns[stage] = 0

    @contextmanager
    def measure(self, stage: Stage) -> Iterator[None]:
        """Counts the time spent inside the block."""
        start_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.elapsed_ns[stage] += time.monotonic_ns() - start_ns

    def elapsed_ms(self, stage: Stage) -> float:
        """Milliseconds of a stage since the last reset."""
        return self.elapsed_ns[stage] / 1e6
