"""From windows to events: what is learned first, what is too far, and when it is over. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from edgepose.device.drift.drift_limits import DriftLimits, learn
from edgepose.inference.drift_measure import histogram, ks, median, outside, psi
from edgepose.spec.drift_record import (
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

_KEPT_EVENTS = 100


class DriftWatch:
    """Takes window after window.

    Args:
        model_sha256: The model that runs.
        reference: What it was judged on; None where its bundle does not say.
        baseline: What was learned before; another model's is left alone.
        status: What was known before; another model's is left alone.
        limits: When something counts.
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
        """Judges a window.

        Args:
            window: Samples of each feature.
            at: When it ended, ISO 8601, UTC.

        Returns:
            The events that began and those that ended.
        """
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
