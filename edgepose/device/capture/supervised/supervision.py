"""When a capture process is killed, started again, or given up. Pure: time comes from outside."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

Decision = Literal["wait", "start", "kill", "give_up"]


@dataclass(frozen=True)
class CaptureLimits:
    """The times that are promised.

    Attributes:
        open_s: A camera is open after so long; slow boards import OpenCV for ten seconds.
        silence_s: An open camera without a frame for so long is started again.
        frozen_s: A camera that shows the very same image for so long is frozen.
        first_pause_s: Between a loss and the next start; doubled each time.
        longest_pause_s: The most of that.
        restarts: So many starts again ...
        restarts_per_s: ... in any so many seconds.
        give_up_s: A camera that delivered before is given up after so long without a frame, one that never
            did at its first failure; None never gives up.
    """

    open_s: float = 60.0
    silence_s: float = 5.0
    frozen_s: float = 10.0
    first_pause_s: float = 1.0
    longest_pause_s: float = 15.0
    restarts: int = 5
    restarts_per_s: float = 60.0
    give_up_s: float | None = 60.0


class Supervision:
    """Decides about one live camera."""

    def __init__(self, limits: CaptureLimits, now_s: float) -> None:
        self._limits = limits
        self._running = True
        self._opened = False
        self.delivered = False
        self._lost_s: float | None = None
        self._started_s = now_s
        self._alive_s = now_s
        self._next_s = now_s
        self._pause_s = limits.first_pause_s
        self._restarts: deque[float] = deque(maxlen=limits.restarts)

    def alive(self, now_s: float) -> float | None:
        """Takes note of a captured frame; returns how long none had come, if the camera had been lost."""
        outage_s = None if self._lost_s is None else now_s - self._lost_s
        self._lost_s = None
        self._opened = self.delivered = True
        self._alive_s = now_s
        if now_s - self._started_s > self._limits.longest_pause_s:
            self._pause_s = self._limits.first_pause_s
        return outage_s

    def ended(self, now_s: float) -> None:
        """Takes note that the process is gone, for whatever reason."""
        self._running = self._opened = False
        if self._lost_s is None:
            self._lost_s = self._alive_s
        self._next_s = max(now_s + self._pause_s, self._allowed_s())
        self._pause_s = min(self._pause_s * 2, self._limits.longest_pause_s)

    def started(self, now_s: float) -> None:
        """Takes note that it was started again."""
        self._running = True
        self._started_s = now_s
        self._restarts.append(now_s)

    def decide(self, now_s: float) -> Decision:
        """What to do now."""
        if self._running:
            silent_s = now_s - (self._alive_s if self._opened else self._started_s)
            limit_s = self._limits.silence_s if self._opened else self._limits.open_s
            return "kill" if silent_s > limit_s else "wait"
        if self._is_hopeless(now_s):
            return "give_up"
        return "start" if now_s >= self._next_s else "wait"

    def _is_hopeless(self, now_s: float) -> bool:
        patience_s = self._limits.give_up_s
        if patience_s is None:
            return False
        return not self.delivered or now_s - self._alive_s > patience_s

    def _allowed_s(self) -> float:
        if len(self._restarts) < self._limits.restarts:
            return 0.0
        return self._restarts[0] + self._limits.restarts_per_s
