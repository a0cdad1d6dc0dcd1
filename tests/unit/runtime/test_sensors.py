"""Sensors planted as files: what slows a machine is named, and what no machine says stays None."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.runtime.machine import SensorReading, Sensors, slowed_between
from tests.support.sysfs import PlantedSysfs

GET_THROTTLED = "devices/platform/soc/soc:firmware/get_throttled"


@pytest.fixture(name="sysfs")
def _sysfs(tmp_path: Path) -> PlantedSysfs:
    return PlantedSysfs(tmp_path)


def test_a_machine_without_sensors_says_nothing(tmp_path: Path) -> None:
    assert Sensors(tmp_path).read(start_programs=True) == SensorReading()


def test_the_hottest_zone_and_the_mean_frequency_are_read(sysfs: PlantedSysfs) -> None:
    for zone, temperature in enumerate((41000, 63500, -2000)):
        sysfs.put(f"class/thermal/thermal_zone{zone}/temp", temperature)
    for core, khz in enumerate((2400000, 1500000)):
        sysfs.put(f"devices/system/cpu/cpu{core}/cpufreq/scaling_cur_freq", khz)
    reading = Sensors(sysfs.root).read()
    assert reading.temperature_celsius == 63.5
    assert reading.cpu_mhz == 1950.0
    assert reading.active is None


def test_a_raspberry_pi_names_what_slows_it_now_and_counts_what_has_been(sysfs: PlantedSysfs) -> None:
    flags = sysfs.put(GET_THROTTLED, "50005")
    sensors = Sensors(sysfs.root)
    reading = sensors.read()
    assert reading.active == {"under_voltage", "throttled"}
    flags.write_text("0\n")
    assert sensors.read().active == frozenset()


def test_what_was_before_the_measurement_is_not_blamed_on_it(sysfs: PlantedSysfs) -> None:
    flags = sysfs.put(GET_THROTTLED, "10000")
    sensors = Sensors(sysfs.root)
    before = sensors.read()
    assert slowed_between([before, sensors.read()]) == frozenset()
    flags.write_text("50000\n")
    assert slowed_between([before, sensors.read()]) == {"throttled"}


def test_vcgencmd_is_asked_where_the_kernel_has_no_file_and_only_when_allowed(sysfs: PlantedSysfs) -> None:
    program = sysfs.root / "usr" / "bin" / "vcgencmd"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\n[ "$1" = get_throttled ] && echo throttled=0x8\n')
    program.chmod(0o755)
    sensors = Sensors(sysfs.root)
    assert sensors.read(start_programs=True).active == {"soft_temperature_limit"}
    assert sensors.read().active is None


def test_a_cooled_processor_is_slowed_and_a_fan_is_not(sysfs: PlantedSysfs) -> None:
    sysfs.put("class/thermal/cooling_device0/type", "pwm-fan")
    sysfs.put("class/thermal/cooling_device0/cur_state", 4)
    assert Sensors(sysfs.root).read().active is None
    sysfs.put("class/thermal/cooling_device1/type", "cpufreq-cpu0")
    state = sysfs.put("class/thermal/cooling_device1/cur_state", 2)
    assert Sensors(sysfs.root).read().active == {"cpufreq-cpu0"}
    state.write_text("0\n")
    assert Sensors(sysfs.root).read().active == frozenset()


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("class/hwmon/hwmon3/oc1_event_cnt", "over_current"),
        ("devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "core_throttled"),
    ],
)
def test_a_counter_that_grew_says_that_something_slowed_it(sysfs: PlantedSysfs, file: str, name: str) -> None:
    counter = sysfs.put(file, 7)
    sensors = Sensors(sysfs.root)
    before = sensors.read()
    assert slowed_between([before, sensors.read()]) == frozenset()
    counter.write_text("9\n")
    assert slowed_between([before, SensorReading(), sensors.read()]) == {name}
