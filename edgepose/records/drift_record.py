"""What a model was measured on, what a device sees instead, and what to do about it."""

from __future__ import annotations

from typing import Literal, get_args

from edgepose.records.record import Record

FeatureName = Literal[
    "brightness", "sharpness", "scale", "confidence", "visibility", "leg_ratio", "arm_ratio", "tilt",
    "persons", "jitter", "swaps", "latency",
]  # fmt: skip
FEATURE_NAMES: tuple[FeatureName, ...] = get_args(FeatureName)

# A slower device is worth an event; no training makes it faster.
NOT_LEARNED: frozenset[FeatureName] = frozenset(("latency",))

REFERENCE_NAME = "drift_reference.json"


class FeatureHistogram(Record, frozen=True, kw_only=True):
    """How often each value was seen, over the feature's fixed places.

    Attributes:
        weights: One number a place, not negative; a sample between two places counts for both in part.
        samples: Their sum: how many samples there were.
    """

    weights: tuple[float, ...]
    samples: float


class DriftReference(Record, frozen=True, kw_only=True):
    """What the model was judged on; travels in its bundle.

    Attributes:
        schema: ``edgepose.drift_reference/1``.
        pictures: How many images it was made from.
        features: A histogram a feature; only features that single images have.
    """

    schema: Literal["edgepose.drift_reference/1"] = "edgepose.drift_reference/1"
    pictures: int
    features: dict[FeatureName, FeatureHistogram]


class DriftSize(Record, frozen=True, kw_only=True):
    """How far a window is from what it is compared with.

    Attributes:
        psi: Population stability index against this camera's own first windows; None while these are learned.
        ks: Kolmogorov-Smirnov distance to them, 0 to 1.
        outside: Share of the window beyond what the model was judged on (its 1 % to 99 %); None where the
            bundle says nothing about the feature.
        typical: The window's median; a logarithm to base 2 where the feature is one.
        reference: The median of what it is compared with.
    """

    psi: float | None
    ks: float | None
    outside: float | None
    typical: float
    reference: float


class DriftEvent(Record, frozen=True, kw_only=True):
    """A feature that left its range, and for how long.

    Attributes:
        feature: Which.
        kind: ``shifted`` from this camera's own first windows, or ``outside`` what the model was judged on.
        size: At its largest.
        since: ISO 8601, UTC: end of the first window in which it showed.
        until: The same of its end; None while it goes on.
    """

    feature: FeatureName
    kind: Literal["shifted", "outside"]
    size: DriftSize
    since: str
    until: str | None = None


class DriftStatus(Record, frozen=True, kw_only=True):
    """What a device knows about drift.

    Attributes:
        schema: ``edgepose.drift/1``.
        model_sha256: The model that it is about.
        learning: Whether the first windows of this camera are still being learned.
        windows: Windows seen with this model.
        events: The newest hundred, oldest first.
        retrain: Whether the model should be trained again: something that training can answer drifted.
    """

    schema: Literal["edgepose.drift/1"] = "edgepose.drift/1"
    model_sha256: str
    learning: bool = True
    windows: int = 0
    events: tuple[DriftEvent, ...] = ()
    retrain: bool = False

    @property
    def asked_for(self) -> tuple[DriftEvent, ...]:
        """The events that have not ended and that training can answer."""
        return tuple(event for event in self.going_on if event.feature not in NOT_LEARNED)

    @property
    def going_on(self) -> tuple[DriftEvent, ...]:
        """The events that have not ended."""
        return tuple(event for event in self.events if event.until is None)


class LearnedFeature(Record, frozen=True, kw_only=True):
    """What is usual of a feature at a camera.

    Attributes:
        windows: How many windows it was learned from.
        histogram: All of them together.
        psi_spread: The largest distance of one of them to those before it, population stability index.
        ks_spread: The same as a Kolmogorov-Smirnov distance.
    """

    windows: int
    histogram: FeatureHistogram
    psi_spread: float = 0.0
    ks_spread: float = 0.0


class DriftBaseline(Record, frozen=True, kw_only=True):
    """The first windows of a camera with a model.

    Attributes:
        schema: ``edgepose.drift_baseline/1``.
        model_sha256: The model.
        windows: How many windows it was learned from.
        features: What was learned of each feature.
    """

    schema: Literal["edgepose.drift_baseline/1"] = "edgepose.drift_baseline/1"
    model_sha256: str
    windows: int = 0
    features: dict[FeatureName, LearnedFeature]


class RetrainingRequest(Record, frozen=True, kw_only=True):
    """A device asks for a better model; ``edgepose distill --request`` takes it as its job.

    Attributes:
        schema: ``edgepose.retraining_request/1``.
        requested_at: ISO 8601, UTC.
        model: Name of the model that drifted.
        model_sha256: Its digest.
        bundle_version: The bundle that it came in.
        precision: Its precision.
        recipe: How it was quantized; None where it was not.
        profile: The device profile.
        reference_sha256: Digest of the reference in the bundle; None without one.
        drifted: What drifted.
        pictures: In words, what new training images should show.
    """

    schema: Literal["edgepose.retraining_request/1"] = "edgepose.retraining_request/1"
    requested_at: str
    model: str
    model_sha256: str
    bundle_version: int
    precision: str
    recipe: str | None
    profile: str
    reference_sha256: str | None
    drifted: tuple[DriftEvent, ...]
    pictures: tuple[str, ...]
