"""How long a benchmark is, what its record says of heat, and what becomes of the speed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.runtime.benchmark import BenchmarkRequest, benchmark_model
from edgepose.runtime.benchmark_rule import (
    RULE,
    BenchmarkLength,
    length_asked,
    retention_of_minutes,
    timeline_of,
    was_throttled,
)
from edgepose.runtime.energy import Watched
from edgepose.runtime.machine import SensorReading
from edgepose.runtime.open_model import RuntimeOptions
from edgepose.trust.builtin_models import find_builtin_models
from tests.support.bundled_models import MatchedFilters
from tests.support.sysfs import PlantedSysfs

COOL = SensorReading(50.0, 2400.0, frozenset())
HOT = SensorReading(85.0, 1500.0, frozenset({"throttled"}))


@pytest.mark.parametrize(
    ("duration_s", "samples", "expected"),
    [
        (None, None, RULE),
        (2.0, None, BenchmarkLength(2.0, 1)),
        (600.0, None, BenchmarkLength(600.0, 1024)),
        (None, 10, BenchmarkLength(0.0, 10)),
        (None, 5000, BenchmarkLength(60.0, 5000)),
        (2.0, 10, BenchmarkLength(2.0, 10)),
    ],
)
def test_only_who_asks_for_less_gets_less(
    duration_s: float | None, samples: int | None, expected: BenchmarkLength
) -> None:
    assert length_asked(duration_s, samples) == expected


def test_the_rule_wants_both_samples_and_seconds() -> None:
    assert RULE.reached(60.0, 1024)
    assert not RULE.reached(59.9, 5000)
    assert not RULE.reached(300.0, 1023)


def steady(duration_s: float, slow_from_s: float) -> tuple[np.ndarray, np.ndarray]:
    ends_s = np.arange(0.1, duration_s + 0.05, 0.1)
    return np.where(ends_s > slow_from_s, 20.0, 10.0), ends_s


def test_a_machine_that_slows_down_keeps_half_its_speed_over_ten_minutes() -> None:
    assert retention_of_minutes(*steady(600.2, 300.0)) == pytest.approx(0.5)
    assert retention_of_minutes(*steady(600.2, 700.0)) == pytest.approx(1.0)


def test_under_ten_minutes_there_is_no_retention_over_ten_minutes() -> None:
    assert retention_of_minutes(*steady(599.0, 300.0)) is None


def test_a_timeline_says_when_it_was_hot_and_slow() -> None:
    watched = Watched(COOL, [(second + 0.2, HOT if second >= 6 else COOL) for second in range(10)], HOT)
    points = timeline_of(*steady(10.0, 6.0), watched)
    assert len(points) == 10
    assert sum(point.samples for point in points) == 100
    assert [point.throttled for point in points] == [False] * 6 + [True] * 4
    assert [point.p50_ms for point in points] == [10.0] * 6 + [20.0] * 4
    assert points[7].temperature_celsius == 85.0
    assert was_throttled(watched) is True
    assert was_throttled(Watched(COOL, [], COOL)) is False
    assert was_throttled(Watched(SensorReading())) is None


def measured(model: Path, length: BenchmarkLength, root: Path) -> BenchmarkReport:
    return benchmark_model(BenchmarkRequest(model, None, None, RuntimeOptions(1), length, sensors_root=root))


def test_a_record_holds_heat_energy_and_whether_it_is_complete(tmp_path: Path) -> None:
    sysfs = PlantedSysfs(tmp_path / "root")
    sysfs.put("class/thermal/thermal_zone0/temp", 71400)
    sysfs.put("devices/platform/soc/soc:firmware/get_throttled", "4")
    sysfs.put("class/hwmon/hwmon0/name", "ina219")
    sysfs.put("class/hwmon/hwmon0/power1_input", 3_000_000)
    report = measured(MatchedFilters().write(tmp_path / "m.onnx"), BenchmarkLength(1.2, 5), sysfs.root)
    assert report.complete is False
    assert report.temperature_celsius == 71.4
    assert report.throttled is True
    assert report.conditions is not None
    assert report.conditions.during is not None
    assert report.conditions.during.throttle_flags == ("throttled",)
    assert report.energy is not None
    assert report.energy.watts == pytest.approx(3.0, rel=0.01)
    assert report.energy.joules_per_inference == pytest.approx(
        report.energy.joules / report.samples, rel=0.01
    )
    assert report.model.paradigm == "top_down"


def test_a_machine_that_measures_nothing_says_null(tmp_path: Path) -> None:
    model = MatchedFilters().write(tmp_path / "m.onnx")
    report = measured(model, BenchmarkLength(0.0, 20), tmp_path / "empty")
    assert report.samples == 20
    assert (report.temperature_celsius, report.throttled, report.energy) == (None, None, None)
    assert report.warm_up is not None
    assert report.warm_up.samples == 10


def test_a_person_detector_is_measured_by_itself(tmp_path: Path) -> None:
    model = find_builtin_models().path_of("detector", "int8")
    report = measured(model, BenchmarkLength(0.0, 5), tmp_path)
    assert report.model.paradigm == "detector"
    assert min(report.stages_ms.preprocess, report.stages_ms.infer, report.stages_ms.decode) > 0
