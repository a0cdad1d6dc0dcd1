"""A model against its baseline, as rows for plots and tables."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.host.report.material import ReportMaterial
from edgepose.host.report.plots.bars import Bar, WhiskerRow
from edgepose.host.report.plots.frame import drawable, drawable_interval
from edgepose.records.evaluation_report import DeltaFigure, EvaluationReport, MetricFigure

METRICS = {"oks_ap": "AP", "oks_ap50": "AP50", "oks_ap75": "AP75", "oks_ar": "AR", "pck@0.2": "PCK@0.2"}
PCK = "pck@0.2"


@dataclass(frozen=True)
class Difference:
    """A paired difference.

    Attributes:
        name: What of.
        figure: The difference; None where it was not measured.
        persons: Persons behind it; None where all of the data's are.
        judged: Whether there are enough persons for the gate.
    """

    name: str
    figure: DeltaFigure | None
    persons: int | None = None
    judged: bool = True

    def row(self) -> WhiskerRow:
        """The same as a row of a plot."""
        figure = self.figure
        value = None if figure is None else drawable(figure.value)
        interval = None if figure is None or value is None else drawable_interval(figure.interval_95)
        return WhiskerRow(self.name, value, interval, self.judged)


@dataclass(frozen=True)
class KeypointFigures:
    """PCK of a keypoint: this model's, and the baseline's where a record of it is at hand."""

    name: str
    own: MetricFigure | None
    other: MetricFigure | None

    def bar(self) -> Bar:
        """The same as a row of a plot."""
        own = None if self.own is None else drawable(self.own.value)
        interval = None if self.own is None or own is None else drawable_interval(self.own.interval_95)
        return Bar(self.name, own, interval, None if self.other is None else drawable(self.other.value))


def differences(report: EvaluationReport) -> list[Difference]:
    """Overall figures first, then the AP of each slice."""
    delta = {} if report.baseline is None else report.baseline.delta
    overall = [Difference(name, delta.get(metric)) for metric, name in METRICS.items()]
    slices = [
        Difference(f"AP {name}", (part.delta or {}).get("oks_ap"), part.persons, part.gated)
        for name, part in report.slices.items()
    ]
    return overall + slices


def keypoint_figures(report: EvaluationReport, material: ReportMaterial) -> list[KeypointFigures]:
    """By keypoint, in the record's order."""
    other = _record_of_baseline(report, material)
    return [
        KeypointFigures(
            name, figures.get(PCK), None if other is None else other.per_keypoint.get(name, {}).get(PCK)
        )
        for name, figures in report.per_keypoint.items()
    ]


def _record_of_baseline(report: EvaluationReport, material: ReportMaterial) -> EvaluationReport | None:
    """The baseline's own record on the same data with the same boxes."""
    if report.baseline is None:
        return None
    wanted = (report.baseline.sha256, report.dataset, report.detector)
    found = (one.report for one in material.all_evaluations())
    return next((one for one in found if (one.model.sha256, one.dataset, one.detector) == wanted), None)
