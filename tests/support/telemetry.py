"""Windows, results and roots for tests of telemetry."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edgepose.device.monitor.recorder import open_or_renew
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace, TelemetryStore
from edgepose.device.monitor.window import Window
from edgepose.device.output.pose_sink import FrameResult
from tests.support.pictures import persons_at, result_of

START = datetime(2026, 3, 1, 8, 0, 0, tzinfo=timezone.utc)


def frame_result(persons: int = 1, latency_ms: float = 12.0, index: int = 0) -> FrameResult:
    """A frame with so many persons, with times of all stages."""
    poses = persons_at([(60.0 + 40 * person, 120.0) for person in range(persons)])
    stages = {"detect": 0.0, "preprocess": 1.5, "infer": latency_ms - 3, "decode": 0.5}
    return replace(result_of(poses, index), latency_ms=latency_ms, stages_ms=stages)


def window(number: int = 0, frames: int = 30) -> Window:
    """A minute with its own figures."""
    chance = random.Random(number)  # noqa: S311 (figures, no secrets)
    at = (START + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made = Window(at)
    results = [frame_result(persons, 10.0) for persons in range(3)]
    for _ in range(frames):
        result = chance.choice(results)
        made.count(replace(result, latency_ms=chance.uniform(5, 40)))
    made.duration_s = 60.0
    made.temperature_celsius = 50.0 + number % 10
    made.throttled = False
    return made


def filled_store(root: Path, minutes: int, limits: StoreLimits | None = None) -> TelemetryStore:
    """A store that is still open, with so many minutes, not flushed: that would take most of a test."""
    root.mkdir(exist_ok=True)
    store, _ = open_or_renew(TelemetryPlace(root), limits or StoreLimits())
    store._connection.execute("PRAGMA synchronous = OFF")
    for number in range(minutes):
        store.add(window(number), [])
    return store
