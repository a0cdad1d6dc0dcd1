"""What the page shows, from lines of ``edgepose.poses/1``: the newest skeletons and figures about them. Pure.

Lines are taken apart and put together anew from numbers: what a line might hold beside poses does not go on.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

POSES, PAGE, EVENT = "edgepose.poses/1", "edgepose.page/1", "edgepose.page_event/1"
_RECENT_S = 3.0
# A source that gives nothing for so long is said to be waited for.
_QUIET_S = 3.0
_MOST_PERSONS = 100
# What lines hold is ours, but a program of somebody else may write to the socket that the page follows.
_MOST_POINTS, _MOST_NAMES, _LONGEST_NAME, _MOST_RECENT = 512, 64, 64, 3000

Edges = list[tuple[int, int]]


@dataclass
class PageState:
    """Fed by one thread; whoever reads holds the same lock as whoever feeds.

    Attributes:
        number: Grows with each frame.
        view: The newest skeletons, None before the first.
        ended: Whether nothing more will come.
    """

    number: int = 0
    view: dict[str, Any] | None = None
    ended: bool = False
    _edges: dict[str, Edges] = field(default_factory=dict)
    _recent: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=_MOST_RECENT))
    _dropped: int = 0
    _persons: int = 0
    _limit_fps: float | None = None
    _drift: dict[str, float | None] = field(default_factory=dict)

    def take(self, line: bytes, now_s: float) -> None:
        """Takes a line whole or not at all; one of another schema is left alone.

        Args:
            line: JSON.
            now_s: On a clock that nobody sets.

        Raises:
            ValueError: It is not what its schema says.
        """
        try:
            record = json.loads(line, parse_constant=_refuse, parse_float=_finite)
            schema = record["schema"]
            if schema == POSES:
                self._take_poses(record, now_s)
            elif schema == PAGE:
                self._take_edges(str(record["skeleton"]), record["edges"])
            elif schema == EVENT:
                self._take_event(str(record["kind"]), str(record["subject"]), record["value"])
        except (KeyError, TypeError, IndexError, OverflowError, RecursionError) as problem:
            raise ValueError(f"not a line of {POSES}") from problem

    def figures(self, now_s: float, temperature_celsius: float | None) -> dict[str, Any]:
        """The figures of the last three seconds."""
        self._forget(now_s)
        latencies = sorted(latency for _, latency in self._recent)
        return {
            "state": self._state(now_s),
            "fps": self._fps(),
            "latency_p50_ms": _at(latencies, 0.5),
            "latency_p95_ms": _at(latencies, 0.95),
            "persons": self._persons,
            "dropped": self._dropped,
            "temperature_celsius": temperature_celsius,
            "limit_fps": self._limit_fps,
            "drift": [{"feature": feature, "size": size} for feature, size in sorted(self._drift.items())],
        }

    def _take_edges(self, skeleton: str, edges: list[Any]) -> None:
        if len(self._edges) < _MOST_NAMES or skeleton in self._edges:
            self._edges[skeleton] = [(int(a), int(b)) for a, b in edges[:_MOST_POINTS]]

    def _take_poses(self, record: dict[str, Any], now_s: float) -> None:
        persons = [
            {
                "id": None if person["track_id"] is None else int(person["track_id"]),
                "points": [
                    [float(x), float(y), float(score)] for x, y, score in person["keypoints"][:_MOST_POINTS]
                ],
            }
            for person in record["poses"][:_MOST_PERSONS]
        ]
        view = {
            "frame": int(record["frame"]),
            "size": [int(record["width_px"]), int(record["height_px"])],
            "edges": self._edges.get(str(record["skeleton"]), []),
            "persons": persons,
        }
        dropped, latency_ms = int(record["dropped_before"]), float(record["latency_ms"])
        self.view = view
        self.number += 1
        self._persons = len(persons)
        self._dropped += dropped
        self._recent.append((now_s, latency_ms))
        self._forget(now_s)

    def _take_event(self, kind: str, subject: str, value: float | None) -> None:
        size = None if value is None else float(value)
        if kind == "drift_started":
            if len(self._drift) < _MOST_NAMES:
                self._drift[subject[:_LONGEST_NAME]] = size
        elif kind == "drift_ended":
            self._drift.pop(subject[:_LONGEST_NAME], None)
        elif kind == "rate_lowered":
            self._limit_fps = size
        elif kind == "rate_restored":
            self._limit_fps = None

    def _forget(self, now_s: float) -> None:
        while self._recent and now_s - self._recent[0][0] > _RECENT_S:
            self._recent.popleft()

    def _state(self, now_s: float) -> str:
        if self.ended:
            return "ended"
        return "live" if self._recent and now_s - self._recent[-1][0] < _QUIET_S else "waiting"

    def _fps(self) -> float | None:
        if len(self._recent) < 2:
            return None
        return round((len(self._recent) - 1) / max(self._recent[-1][0] - self._recent[0][0], 1e-3), 1)


def _at(ordered: list[float], share: float) -> float | None:
    return round(ordered[min(int(len(ordered) * share), len(ordered) - 1)], 1) if ordered else None


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no coordinate")


def _finite(text: str) -> float:
    """JSON has 1e400, which Python reads as infinity."""
    value = float(text)
    if not isfinite(value):
        _refuse(text)
    return value
