"""How reports write numbers and text from outside; what is missing is said to be missing."""

from __future__ import annotations

import math
import unicodedata

from edgepose.records.evaluation_report import DeltaFigure, Interval, MetricFigure

NOT_MEASURED = "not measured"
NOT_STATED = "not stated"
METRICS = {"oks_ap": "AP", "oks_ap50": "AP50", "oks_ap75": "AP75", "oks_ar": "AR", "pck@0.2": "PCK@0.2"}
PCK = "pck@0.2"
# Control and format characters (bidirectional overrides among them), line separators, lone surrogates.
_NOT_TEXT = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs"})
_NO_CHARACTERS = "\ufffe\uffff"


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


def plain_letter(letter: str) -> str:
    """The letter, or a space for what is no text."""
    return " " if unicodedata.category(letter) in _NOT_TEXT or letter in _NO_CHARACTERS else letter
