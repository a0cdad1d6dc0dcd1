"""The summary of a run, also of one that lasts for months."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from edgepose.device.run import summary as run_summary
from edgepose.device.run.summary import RunCounter
from edgepose.runtime.backend import BackendInfo
from edgepose.runtime.pipeline import STAGES
from tests.support.pictures import persons_at, result_of

BACKEND = BackendInfo("test", "1", "none", 0, 0, 1)


def counted(counter: RunCounter, latencies_ms: list[float]) -> RunCounter:
    """Frames that took so long."""
    result = result_of(persons_at([(50.0, 60.0)]))
    for latency_ms in latencies_ms:
        stages = dict.fromkeys(STAGES, latency_ms / 10)
        counter.count(replace(result, latency_ms=latency_ms, stages_ms=stages), 0)
    return counter


def test_percentiles_are_of_all_frames_of_a_short_run() -> None:
    summary = counted(RunCounter(), [float(n) for n in range(1, 102)]).summary("x", 1.0, "source", BACKEND)
    assert summary.latency_ms is not None
    assert (summary.latency_ms.p50, summary.latency_ms.p95) == (51.0, 96.0)
    assert set(summary.stages_ms.values()) == {5.1}


def test_percentiles_are_of_the_newest_frames_of_a_long_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_summary, "_KEPT_FRAMES", 100)
    summary = counted(RunCounter(), [1.0] * 150 + [9.0] * 100).summary("x", 1.0, "signal", BACKEND)
    assert summary.latency_ms is not None
    assert summary.frames == 250
    assert (summary.latency_ms.p50, summary.latency_ms.p95) == (9.0, 9.0)


def test_a_run_without_a_frame_has_no_latency() -> None:
    summary = RunCounter().summary("x", 1.0, "signal", BACKEND)
    assert (summary.latency_ms, summary.stages_ms) == (None, {})


def test_counting_keeps_nothing_of_a_frame() -> None:
    counter = counted(RunCounter(), [5.0] * 50)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        counted(counter, [5.0] * 5000)
        assert tracemalloc.get_traced_memory()[0] - before < 20_000
    finally:
        tracemalloc.stop()
