"""The energy that a machine says it used: power monitors of a board, or the counters of an x86 processor.

What is read is the whole board or package, with all else that runs there and with what it takes at rest.
Sources: Linux' hwmon/ina3221.rst and hwmon/ina2xx.rst, power/powercap/powercap.rst.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgepose.inference.sensors import read_int, read_text_of

# Power monitors by their driver's name.
_MONITORS = ("ina3221", "ina219", "ina220", "ina226", "ina230", "ina231", "ina237", "ina238", "ina260")
# The rail that feeds a whole Jetson module, where there is one (Orin Nano and NX, Xavier NX; the first Nano).
_WHOLE_BOARD = ("VDD_IN", "POM_5V_IN")
_CHANNELS = (1, 2, 3)


class EnergyMeter(Protocol):
    """Adds up energy between looks at a sensor."""

    @property
    def source(self) -> str:
        """What it reads."""
        ...

    @property
    def joules(self) -> float | None:
        """Energy between the first look and the last; None where a look failed."""
        ...

    def look(self, now_ns: int) -> None:
        """Reads the sensor.

        Args:
            now_ns: ``time.monotonic_ns``.
        """
        ...


def find_energy_meter(root: Path = Path("/")) -> EnergyMeter | None:
    """The meter of this machine: its board's power monitors, else its processor's counters; or None.

    Args:
        root: Root of the file system.
    """
    rails = _rails(root / "sys")
    if rails:
        return PowerMeter(rails)
    zones = [
        zone
        for zone in sorted((root / "sys" / "class" / "powercap").glob("intel-rapl:*"))
        # intel-rapl:0:1 is a part of intel-rapl:0; psys is the platform and contains the packages.
        if zone.name.count(":") == 1 and (read_text_of(zone / "name") or "").startswith("package")
    ]
    # Since CVE-2020-8694 only root reads the counters.
    if zones and all(read_int(zone / "energy_uj") is not None for zone in zones):
        return CounterMeter(zones)
    return None


class CounterMeter:
    """Counters of microjoules, as RAPL has them; AMD's processors answer under the same name.

    Args:
        zones: Folders of powercap.
    """

    def __init__(self, zones: Sequence[Path]) -> None:
        self._zones = list(zones)
        self._last_uj: list[int] | None = None
        self._sum_uj: int | None = 0

    @property
    def source(self) -> str:
        """What it reads."""
        return "RAPL " + " + ".join(read_text_of(zone / "name") or zone.name for zone in self._zones)

    @property
    def joules(self) -> float | None:
        """Energy between the first look and the last; None where a look failed."""
        return None if self._sum_uj is None else self._sum_uj / 1e6

    def look(self, now_ns: int) -> None:  # noqa: ARG002
        """Reads the counters, which begin anew when they are full."""
        now_uj = [read_int(zone / "energy_uj") for zone in self._zones]
        whole = [value for value in now_uj if value is not None]
        if self._sum_uj is None or len(whole) < len(now_uj):
            self._sum_uj = None
            return
        for zone, before, after in zip(self._zones, self._last_uj or whole, whole, strict=True):
            full_uj = (read_int(zone / "max_energy_range_uj") or 0) if after < before else 0
            self._sum_uj += max(after - before + full_uj, 0)
        self._last_uj = whole


class Rail:
    """One channel of a power monitor.

    Args:
        name: Its label.
        folder: Folder of hwmon.
        channel: Number of the channel; None where the driver gives the power itself.
    """

    def __init__(self, name: str, folder: Path, channel: int | None) -> None:
        self.name = name
        self._folder = folder
        self._channel = channel

    def watts(self) -> float | None:
        """Power now: millivolts by milliamperes, or microwatts."""
        if self._channel is None:
            microwatts = read_int(self._folder / "power1_input")
            return None if microwatts is None else microwatts / 1e6
        millivolts = read_int(self._folder / f"in{self._channel}_input")
        milliamperes = read_int(self._folder / f"curr{self._channel}_input")
        return None if millivolts is None or milliamperes is None else millivolts * milliamperes / 1e6


class PowerMeter:
    """Power of rails, added up over time by the trapezoidal rule.

    Args:
        rails: Which; none contains another.
    """

    def __init__(self, rails: Sequence[Rail]) -> None:
        self._rails = list(rails)
        self._last: tuple[int, float] | None = None
        self._joules: float | None = 0.0

    @property
    def source(self) -> str:
        """What it reads."""
        return "power monitor " + " + ".join(rail.name for rail in self._rails)

    @property
    def joules(self) -> float | None:
        """Energy between the first look and the last; None where a look failed."""
        return self._joules

    def look(self, now_ns: int) -> None:
        """Reads the power of all rails."""
        powers = [rail.watts() for rail in self._rails]
        known = [power for power in powers if power is not None]
        if self._joules is None or len(known) < len(powers):
            self._joules = None
            return
        watts = sum(known)
        if self._last is not None:
            then_ns, before = self._last
            self._joules += (watts + before) / 2 * (now_ns - then_ns) / 1e9
        self._last = now_ns, watts


def _rails(sysfs: Path) -> list[Rail]:
    found = [
        rail
        for folder in sorted(sysfs.glob("class/hwmon/hwmon*"))
        if read_text_of(folder / "name") in _MONITORS
        for rail in _rails_of(folder)
        if rail.watts() is not None
    ]
    whole = [rail for rail in found if rail.name in _WHOLE_BOARD]
    return whole[:1] or found


def _rails_of(folder: Path) -> list[Rail]:
    if (folder / "power1_input").exists():
        return [Rail(read_text_of(folder / "name") or folder.name, folder, None)]
    labels = {channel: read_text_of(folder / f"in{channel}_label") for channel in _CHANNELS}
    # NVIDIA labels channels that are not connected so.
    return [Rail(label, folder, channel) for channel, label in labels.items() if label and label != "NC"]
