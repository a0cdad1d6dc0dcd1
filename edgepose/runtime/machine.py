"""What this machine says about itself, its heat and what slows it; what it cannot say is None.

Linux' own interfaces are read (Documentation/ABI/testing/sysfs-class-thermal, admin-guide/pm/cpufreq.rst,
hwmon/sysfs-interface.rst), a Raspberry Pi's ``get_throttled`` (Raspberry Pi documentation, "vcgencmd") and a
Jetson's over-current counters (NVIDIA Jetson Linux developer guide, "Platform Power and Performance").
"""

from __future__ import annotations

import platform
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgepose.records.device_profile import HardwareProfile
from edgepose.sandbox.python_child import run_words

SYSFS = Path("/sys")
_DEVICE_TREE_MODEL = Path("/proc/device-tree/model")


def architecture() -> str:
    """``uname -m``."""
    return platform.machine()


def is_the_device(hardware: HardwareProfile, machine: str, device_tree_model: str | None) -> bool:
    """Whether a machine is the device that a profile describes.

    Args:
        hardware: The profile's hardware.
        machine: ``uname -m``.
        device_tree_model: What the firmware says the board is, or None where it says nothing.
    """
    if hardware.os != "linux" or machine != hardware.arch:
        return False
    if not hardware.device_tree_models:
        return True
    return any((device_tree_model or "").startswith(model) for model in hardware.device_tree_models)


def this_is_the_device(hardware: HardwareProfile) -> bool:
    """Whether this very machine is the device that a profile describes."""
    return is_the_device(hardware, platform.machine(), _device_tree_model())


def _device_tree_model() -> str | None:
    """The board's name, None on a PC; the kernel ends it with a zero byte."""
    text = _read(str(_DEVICE_TREE_MODEL))
    return text.rstrip("\0").strip() if text else None


def board_model() -> str | None:
    """The board's name from the device tree, else the CPU's name."""
    text = _device_tree_model()
    if text:
        return text
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return None


def cpu_governor() -> str | None:
    """Frequency governor of the first core."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def temperature_celsius(sysfs: Path = SYSFS) -> float | None:
    """The hottest thermal zone."""
    zones = [_read(str(path)) for path in (sysfs / "class" / "thermal").glob("thermal_zone*/temp")]
    values = [int(zone) / 1000 for zone in zones if zone and zone.lstrip("-").isdigit()]
    return max(values, default=None)


def throttled() -> bool | None:
    """Whether a Raspberry Pi's firmware reports throttling now (bits 0 to 3 of ``get_throttled``)."""
    text = _read("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if not text:
        return None
    try:
        return int(text, 16) & 0xF != 0
    except ValueError:
        return None


def peak_rss_mib() -> float:
    """Highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


# Bits 0 to 3 of get_throttled say what is so now; 16 bits further up, what has been so since boot.
_FIRMWARE_FLAGS = ("under_voltage", "frequency_capped", "throttled", "soft_temperature_limit")
_SINCE_BOOT = 16
# Cooling devices that slow a processor (drivers/thermal/cpufreq_cooling.c, devfreq_cooling.c, and ACPI's
# processor_thermal.c); a fan is one too, and slows nothing.
_SLOWING = ("cpufreq-", "thermal-cpufreq-", "devfreq-", "thermal-devfreq-", "Processor")
# What counts events since boot: x86's thermal interrupts, a Jetson's over-current events.
_COUNTERS = {
    "core_throttled": "devices/system/cpu/cpu[0-9]*/thermal_throttle/core_throttle_count",
    "package_throttled": "devices/system/cpu/cpu[0-9]*/thermal_throttle/package_throttle_count",
    "over_current": "class/hwmon/hwmon*/oc*_event_cnt",
}
_VCGENCMD_LIMIT_S = 2.0


@dataclass(frozen=True)
class SensorReading:
    """One moment.

    Attributes:
        temperature_celsius: Hottest thermal zone.
        cpu_mhz: Mean frequency of the cores.
        active: What slows the machine now; None where nothing on it could say so.
        counts: How often something slowed it since boot, by name.
    """

    temperature_celsius: float | None = None
    cpu_mhz: float | None = None
    active: frozenset[str] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)


class Sensors:
    """Reads them; what there is was looked for once."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._sysfs = sysfs = root / "sys"
        self._frequencies = sorted(sysfs.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq"))
        self._cooling = [
            (kind, state)
            for state in sorted(sysfs.glob("class/thermal/cooling_device*/cur_state"))
            if (kind := read_text_of(state.with_name("type")) or "").startswith(_SLOWING)
        ]
        self._counters = {name: sorted(sysfs.glob(pattern)) for name, pattern in _COUNTERS.items()}
        firmware = sorted(sysfs.glob("devices/platform/soc*/*firmware/get_throttled"))
        self._firmware = firmware[0] if firmware else None
        self._vcgencmd = root / "usr" / "bin" / "vcgencmd"

    def read(self, *, start_programs: bool = False) -> SensorReading:
        """Reads all of them.

        Args:
            start_programs: Whether ``vcgencmd`` may be started where the kernel has no file for it; that
                takes milliseconds of a core.
        """
        frequencies = [value for path in self._frequencies if (value := read_int(path)) is not None]
        firmware = self._firmware_bits(start_programs=start_programs)
        active = None if firmware is None and not self._can_say else self._active(firmware or 0)
        return SensorReading(
            temperature_celsius=temperature_celsius(self._sysfs),
            cpu_mhz=round(sum(frequencies) / len(frequencies) / 1000, 1) if frequencies else None,
            active=active,
            counts={**self._counts(), **_since_boot(firmware)},
        )

    @property
    def _can_say(self) -> bool:
        return bool(self._cooling or any(self._counters.values()))

    def _active(self, firmware: int) -> frozenset[str]:
        named = {name for bit, name in enumerate(_FIRMWARE_FLAGS) if firmware >> bit & 1}
        # intel_powerclamp says -1 where it rests; so may others.
        return frozenset(named | {kind for kind, state in self._cooling if (read_int(state) or 0) > 0})

    def _counts(self) -> dict[str, int]:
        return {
            name: sum(read_int(path) or 0 for path in paths)
            for name, paths in self._counters.items()
            if paths
        }

    def _firmware_bits(self, *, start_programs: bool) -> int | None:
        text = read_text_of(self._firmware) if self._firmware is not None else None
        if self._firmware is None and start_programs and self._vcgencmd.is_file():
            text = _asked(self._vcgencmd)
        try:
            return int(text, 16) if text else None
        except ValueError:
            return None


def slowed_between(readings: Sequence[SensorReading]) -> frozenset[str] | None:
    """What slowed the machine at or between some readings; None where nothing on it could say so."""
    speaking = [reading for reading in readings if reading.active is not None]
    if not speaking:
        return None
    grown: set[str] = set()
    known: dict[str, int] = {}
    # Not every reading has every count: programs are not started in the middle of a measurement.
    for reading in readings:
        grown |= {name for name, count in reading.counts.items() if count > known.get(name, count)}
        known.update(reading.counts)
    return frozenset(grown).union(*(reading.active or () for reading in speaking))


def read_text_of(path: Path) -> str | None:
    """A line of a file of sysfs; None where it is missing or cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def read_int(path: Path) -> int | None:
    """A number of a file of sysfs; None where there is none."""
    try:
        return int(read_text_of(path) or "")
    except ValueError:
        return None


def _since_boot(firmware: int | None) -> dict[str, int]:
    if firmware is None:
        return {}
    return {name: firmware >> (_SINCE_BOOT + bit) & 1 for bit, name in enumerate(_FIRMWARE_FLAGS)}


def _asked(vcgencmd: Path) -> str | None:
    try:
        done = run_words([vcgencmd, "get_throttled"], timeout_s=_VCGENCMD_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # It says a name, an equals sign and a hexadecimal number.
    return done.stdout.strip().partition("=")[2] or None
