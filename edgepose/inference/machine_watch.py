"""Looks at a machine's sensors while something is measured, in a thread of its own."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from edgepose.inference.energy import EnergyMeter, find_energy_meter
from edgepose.inference.sensors import SensorReading, Sensors
from edgepose.spec.benchmark_report import EnergyRecord

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
    """Watches for the time of a ``with`` block.

    Args:
        root: Root of the file system, where the sensors are.

    Attributes:
        seen: The readings; complete after the block.
    """

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
        """Energy of the block; None where no sensor tells.

        Args:
            samples: How many times the model ran in it.
        """
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
