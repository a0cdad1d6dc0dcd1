"""When a window is too far from what is usual. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from edgepose.inference.drift_measure import ks, merged, psi
from edgepose.spec.drift_record import DriftSize, FeatureHistogram, LearnedFeature


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
