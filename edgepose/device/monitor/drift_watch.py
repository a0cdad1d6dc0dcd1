"""From windows to events: what is learned first, what is too far, and when it is over. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from edgepose.records.drift_record import (
    NOT_LEARNED,
    DriftBaseline,
    DriftEvent,
    DriftReference,
    DriftSize,
    DriftStatus,
    FeatureHistogram,
    FeatureName,
    LearnedFeature,
)
from edgepose.records.telemetry_record import RuntimeEvent
from edgepose.runtime.drift_features import histogram, ks, median, merged, outside, psi


@dataclass(frozen=True)
class DriftLimits:
    """When something counts as drift; measured in benchmarks/drift.py (ADR 0030).

    Attributes:
        learned_windows: So many windows are learned from before anything is compared with them: a day of
            windows of five minutes, because mornings and nights differ at most places.
        least_samples: A feature with fewer samples in a window is not judged.
        least_windows: A feature that was in fewer learned windows is not judged by them.
        psi: Population stability index at which a window is too far; with ``ks``.
        ks: Kolmogorov-Smirnov distance at which it is.
        outside: Share of a window beyond what the model was judged on at which it is.
        margin: Windows that were learned from reached some distance by themselves; a limit is at least so
            many times that.
        most_psi: No limit is above this, however restless the place is.
        most_ks: The same for ``ks``.
        calm: A window below this share of the limits is near again.
        windows: So many windows in a row begin or end an event.
    """

    learned_windows: int = 288
    least_samples: int = 20
    least_windows: int = 3
    psi: float = 0.6
    ks: float = 0.28
    outside: float = 0.6
    margin: float = 1.2
    most_psi: float = 6.0
    most_ks: float = 0.9
    calm: float = 0.6
    windows: int = 3

    def shift(self, size: DriftSize, learned: LearnedFeature | None) -> float:
        """How far a window has shifted, in limits: 1 and more is too far.

        Both distances must be far: the one is led by rare places, the other is blind for tails.
        """
        if learned is None or size.psi is None or size.ks is None:
            return 0.0
        psi_limit = min(max(self.psi, self.margin * learned.psi_spread), self.most_psi)
        ks_limit = min(max(self.ks, self.margin * learned.ks_spread), self.most_ks)
        return min(size.psi / psi_limit, size.ks / ks_limit)


def learn(learned: LearnedFeature | None, counted: FeatureHistogram, least_windows: int) -> LearnedFeature:
    """Adds a window to what is usual.

    Args:
        learned: Of the windows before; None for the first.
        counted: The window.
        least_windows: With fewer before it, a window's distance tells nothing.
    """
    if learned is None:
        return LearnedFeature(windows=1, histogram=counted)
    psi_spread, ks_spread = learned.psi_spread, learned.ks_spread
    if learned.windows >= least_windows:
        psi_spread = max(psi_spread, round(psi(learned.histogram, counted), 4))
        ks_spread = max(ks_spread, round(ks(learned.histogram, counted), 4))
    return msgspec.structs.replace(
        learned,
        windows=learned.windows + 1,
        histogram=merged(learned.histogram, counted),
        psi_spread=psi_spread,
        ks_spread=ks_spread,
    )


_KEPT_EVENTS = 100


class DriftWatch:
    """Takes window after window.

    Args:
        reference: What it was judged on; None where its bundle does not say.
        baseline: What was learned before; another model's is left alone.
        status: What was known before; another model's is left alone.
    """

    def __init__(
        self,
        model_sha256: str,
        reference: DriftReference | None,
        baseline: DriftBaseline | None = None,
        status: DriftStatus | None = None,
        limits: DriftLimits | None = None,
    ) -> None:
        self._limits = limits or DriftLimits()
        self._reference = reference
        if baseline is None or baseline.model_sha256 != model_sha256:
            baseline = DriftBaseline(model_sha256=model_sha256, features={})
        if status is None or status.model_sha256 != model_sha256:
            status = DriftStatus(model_sha256=model_sha256)
        self.baseline, self.status = baseline, status
        self._far: dict[FeatureName, int] = {}
        self._near: dict[FeatureName, int] = {}
        self._first: dict[FeatureName, str] = {}

    def take(
        self, window: Mapping[FeatureName, list[float]], at: str
    ) -> tuple[tuple[DriftEvent, ...], tuple[DriftEvent, ...]]:
        """Judges a window that ended ``at`` (ISO 8601, UTC); returns the events that began and that ended."""
        found = {
            name: histogram(name, samples)
            for name, samples in window.items()
            if len(samples) >= self._limits.least_samples
        }
        begun: list[DriftEvent] = []
        ended: list[DriftEvent] = []
        # An empty room at night is darker than anything a model was judged on, and no harm.
        reference = self._reference if "confidence" in found else None
        for name, counted in found.items():
            size = self._size(name, counted, reference)
            if size is not None:
                self._judge(name, size, at, begun, ended)
        learning = self._learn(found)
        self.status = msgspec.structs.replace(
            self.status,
            learning=learning,
            windows=self.status.windows + 1,
            retrain=self.status.retrain or any(event.feature not in NOT_LEARNED for event in begun),
        )
        return tuple(begun), tuple(ended)

    def _learn(self, found: Mapping[FeatureName, FeatureHistogram]) -> bool:
        if self.baseline.windows >= self._limits.learned_windows:
            return False
        features = dict(self.baseline.features)
        for name, counted in found.items():
            features[name] = learn(features.get(name), counted, self._limits.least_windows)
        self.baseline = msgspec.structs.replace(
            self.baseline, windows=self.baseline.windows + 1, features=features
        )
        return self.baseline.windows < self._limits.learned_windows

    def _learned(self, name: FeatureName) -> LearnedFeature | None:
        if self.baseline.windows < self._limits.learned_windows:
            return None
        learned = self.baseline.features.get(name)
        return learned if learned is not None and learned.windows >= self._limits.least_windows else None

    def _size(
        self, name: FeatureName, counted: FeatureHistogram, reference: DriftReference | None
    ) -> DriftSize | None:
        usual = self._learned(name)
        learned = None if usual is None else usual.histogram
        judged = reference.features.get(name) if reference is not None else None
        against = learned or judged
        if against is None:
            return None
        return DriftSize(
            psi=None if learned is None else round(psi(learned, counted), 3),
            ks=None if learned is None else round(ks(learned, counted), 3),
            outside=None if judged is None else round(outside(judged, counted), 3),
            typical=round(median(name, counted), 3),
            reference=round(median(name, against), 3),
        )

    def _judge(
        self, name: FeatureName, size: DriftSize, at: str, begun: list[DriftEvent], ended: list[DriftEvent]
    ) -> None:
        going_on = next((event for event in self.status.going_on if event.feature == name), None)
        excess = max(self._shift(name, size), (size.outside or 0.0) / self._limits.outside)
        if going_on is None:
            if excess < 1.0:
                self._far[name] = 0
                return
            if not self._far.get(name):
                self._first[name] = at
            self._far[name] = self._far.get(name, 0) + 1
            if self._far[name] >= self._limits.windows:
                kind = "shifted" if self._shift(name, size) >= 1.0 else "outside"
                event = DriftEvent(feature=name, kind=kind, size=size, since=self._first[name])  # type: ignore[arg-type]
                self._far[name] = self._near[name] = 0
                begun.append(event)
                self._keep((*self.status.events, event))
            return
        if going_on.kind == "outside" and size.outside is None:
            return
        self._near[name] = self._near.get(name, 0) + 1 if excess < self._limits.calm else 0
        if self._near[name] >= self._limits.windows:
            over = msgspec.structs.replace(going_on, until=at)
            ended.append(over)
            self._replace(going_on, over)
        elif self._shift(name, size) > self._shift(name, going_on.size):
            self._replace(going_on, msgspec.structs.replace(going_on, size=size))

    def _shift(self, name: FeatureName, size: DriftSize) -> float:
        return self._limits.shift(size, self._learned(name))

    def _replace(self, old: DriftEvent, new: DriftEvent) -> None:
        self._keep(tuple(new if event is old else event for event in self.status.events))

    def _keep(self, events: tuple[DriftEvent, ...]) -> None:
        self.status = msgspec.structs.replace(self.status, events=events[-_KEPT_EVENTS:])


def drift_event(
    kind: Literal["drift_started", "drift_ended"], feature: FeatureName, size: DriftSize | None = None
) -> RuntimeEvent:
    """The event, with the largest figure of ``size``."""
    value = None if size is None else round(max(size.psi or 0.0, size.outside or 0.0), 3)
    return RuntimeEvent(kind=kind, subject=feature, value=value)
