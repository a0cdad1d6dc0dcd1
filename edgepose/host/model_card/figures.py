"""How a card writes numbers; what is missing is said to be missing."""

from __future__ import annotations

import math

from edgepose.records.evaluation_report import DeltaFigure, Interval, MetricFigure

NOT_MEASURED = "not measured"
NOT_STATED = "not stated"


def number(value: float | None, digits: int = 3) -> str:
    """A number, or that it was not measured."""
    return NOT_MEASURED if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def with_interval(figure: MetricFigure | None) -> str:
    """A fraction with its 95 % interval."""
    return NOT_MEASURED if figure is None else _joined(figure.value, figure.interval_95, "")


def difference(figure: DeltaFigure | None) -> str:
    """A signed difference with its 95 % interval."""
    return NOT_MEASURED if figure is None else _joined(figure.value, figure.interval_95, "+")


def _joined(value: float | None, interval: Interval | None, sign: str) -> str:
    if value is None or not math.isfinite(value):
        return NOT_MEASURED
    if interval is None or not all(map(math.isfinite, interval)):
        return f"{value:{sign}.3f} (interval {NOT_MEASURED})"
    return f"{value:{sign}.3f} ({interval[0]:{sign}.3f} to {interval[1]:{sign}.3f})"
