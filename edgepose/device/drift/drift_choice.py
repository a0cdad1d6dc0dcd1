"""Whether and how a run is watched for drift."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from edgepose.device.drift.drift_limits import DriftLimits


@dataclass(frozen=True)
class DriftOptions:
    """How drift is looked for.

    Attributes:
        window_s: A window's length.
        samples: So many frames of a window are looked at, evenly spread.
        limits: When something counts.
        now: The wall clock: a label.
    """

    window_s: float = 300.0
    samples: int = 150
    limits: DriftLimits = field(default_factory=DriftLimits)
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc)


@dataclass(frozen=True)
class DriftChoice:
    """What is watched, and who is told.

    Attributes:
        root: The device root whose installed model runs; what is known is kept there.
        hook: A command of the user's shell that is run at each event; None runs none.
        options: How drift is looked for.
    """

    root: Path
    hook: str | None = None
    options: DriftOptions = field(default_factory=DriftOptions)
