"""Energy from planted sensors: counters that begin anew, rails of a board, and none."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.runtime.energy import EnergyMeter, find_energy_meter
from tests.support.sysfs import PlantedSysfs

SECOND_NS = 1_000_000_000


@pytest.fixture(name="sysfs")
def _sysfs(tmp_path: Path) -> PlantedSysfs:
    return PlantedSysfs(tmp_path)


def meter_of(sysfs: PlantedSysfs) -> EnergyMeter:
    meter = find_energy_meter(sysfs.root)
    assert meter is not None
    return meter


def rail(sysfs: PlantedSysfs, channel: int, label: str, millivolts: int, milliamperes: int) -> Path:
    sysfs.put("class/hwmon/hwmon4/name", "ina3221")
    sysfs.put(f"class/hwmon/hwmon4/in{channel}_label", label)
    sysfs.put(f"class/hwmon/hwmon4/in{channel}_input", millivolts)
    return sysfs.put(f"class/hwmon/hwmon4/curr{channel}_input", milliamperes)


def test_a_machine_without_a_sensor_has_no_meter(sysfs: PlantedSysfs) -> None:
    sysfs.put("class/hwmon/hwmon0/name", "coretemp")
    assert find_energy_meter(sysfs.root) is None


def test_rapl_packages_are_added_up_and_a_full_counter_begins_anew(sysfs: PlantedSysfs) -> None:
    counters = []
    for zone, name in enumerate(("package-0", "package-1", "psys")):
        sysfs.put(f"class/powercap/intel-rapl:{zone}/name", name)
        sysfs.put(f"class/powercap/intel-rapl:{zone}/max_energy_range_uj", 100_000_000)
        counters.append(sysfs.put(f"class/powercap/intel-rapl:{zone}/energy_uj", 90_000_000))
    sysfs.put("class/powercap/intel-rapl:0:0/name", "core")
    meter = meter_of(sysfs)
    meter.look(0)
    counters[0].write_text("95000000\n")
    counters[1].write_text("5000000\n")
    counters[2].write_text("99000000\n")
    meter.look(SECOND_NS)
    assert meter.joules == pytest.approx(5 + 15)
    assert meter.source == "RAPL package-0 + package-1"


def test_counters_that_only_root_may_read_are_no_meter(sysfs: PlantedSysfs) -> None:
    sysfs.put("class/powercap/intel-rapl:0/name", "package-0")
    assert find_energy_meter(sysfs.root) is None


def test_a_jetsons_rail_of_the_whole_board_is_taken_alone(sysfs: PlantedSysfs) -> None:
    whole = rail(sysfs, 1, "VDD_IN", 5000, 1000)
    rail(sysfs, 2, "VDD_CPU_GPU_CV", 5000, 400)
    meter = meter_of(sysfs)
    meter.look(0)
    whole.write_text("2000\n")
    meter.look(2 * SECOND_NS)
    assert meter.joules == pytest.approx((5 + 10) / 2 * 2)
    assert meter.source == "power monitor VDD_IN"


def test_rails_without_a_sum_are_added_and_unconnected_ones_left_out(sysfs: PlantedSysfs) -> None:
    rail(sysfs, 1, "VDD_GPU_SOC", 5000, 1000)
    rail(sysfs, 2, "VDD_CPU_CV", 5000, 200)
    rail(sysfs, 3, "NC", 5000, 9000)
    meter = meter_of(sysfs)
    meter.look(0)
    meter.look(SECOND_NS)
    assert meter.joules == pytest.approx(6.0)


def test_a_sensor_that_fails_in_between_leaves_no_figure(sysfs: PlantedSysfs) -> None:
    current = rail(sysfs, 1, "VDD_IN", 5000, 1000)
    meter = meter_of(sysfs)
    meter.look(0)
    current.unlink()
    meter.look(SECOND_NS)
    assert meter.joules is None
