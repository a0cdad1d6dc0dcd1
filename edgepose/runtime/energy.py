"""The energy that a machine says it used, watched with its other sensors by a thread while one measures.

What is read is the whole board or package, with all else that runs there and with what it takes at rest.
Sources: Linux' hwmon/ina3221.rst and hwmon/ina2xx.rst, power/powercap/powercap.rst.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgepose.records.benchmark_report import EnergyRecord
from edgepose.runtime.machine import SensorReading, Sensors, read_int, read_text_of

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
        """Reads the sensor."""
        ...


def find_energy_meter(root: Path = Path("/")) -> EnergyMeter | None:
    """The meter of this machine: its board's power monitors, else its processor's counters; or None."""
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
    """Counters of microjoules, as RAPL has them; AMD's processors answer under the same name."""

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
    """Power of rails, added up over time by the trapezoidal rule."""

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


# Fast enough to see a throttle that comes and goes, and a thousandth of a core or less.
_EVERY_S = 0.5


@dataclass
class Watched:
    """What was seen.

    Attributes:
        before: Before the measurement.
        during: Seconds since its start, and the reading.
        after: When it had ended.
    """

    before: SensorReading
    during: list[tuple[float, SensorReading]] = field(default_factory=list)
    after: SensorReading = field(default_factory=SensorReading)

    @property
    def all_readings(self) -> list[SensorReading]:
        """In their order."""
        return [self.before, *(reading for _, reading in self.during), self.after]


class MachineWatch:
    """Watches for the time of a ``with`` block."""

    def __init__(self, root: Path = Path("/")) -> None:
        self._sensors = Sensors(root)
        self._meter: EnergyMeter | None = find_energy_meter(root)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="machine-watch", daemon=True)
        self._start_ns = 0
        self.seen = Watched(SensorReading())

    def __enter__(self) -> MachineWatch:  # noqa: PYI034 (typing.Self is Python 3.11)
        self.seen = Watched(self._sensors.read(start_programs=True))
        self._start_ns = time.monotonic_ns()
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._look()
        self.seen.after = self._sensors.read(start_programs=True)

    def energy(self, samples: int) -> EnergyRecord | None:
        """Energy of the block; None where no sensor tells."""
        meter, duration_s = self._meter, self._duration_s
        joules = None if meter is None else meter.joules
        if meter is None or joules is None:
            return None
        return EnergyRecord(
            source=meter.source,
            joules=round(joules, 3),
            joules_per_inference=joules / samples,
            watts=round(joules / duration_s, 3),
        )

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._look()
            self.seen.during.append((self._duration_s, self._sensors.read()))

    def _look(self) -> None:
        self._looked_ns = time.monotonic_ns()
        if self._meter is not None:
            self._meter.look(self._looked_ns)

    @property
    def _duration_s(self) -> float:
        return (self._looked_ns - self._start_ns) / 1e9
