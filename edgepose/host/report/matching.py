"""Which figures may be compared: accuracy with latency, and a model with its baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgepose.host.report.inputs import ReportInputs, ReportRecord
from edgepose.host.report.plot_bars import Bar, WhiskerRow
from edgepose.host.report.plot_frame import drawable, drawable_interval
from edgepose.host.report.wording import METRICS, PCK
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.evaluation_report import (
    BaselineReport,
    DeltaFigure,
    EvaluatedData,
    EvaluatedModel,
    EvaluationReport,
    MetricFigure,
)


@dataclass(frozen=True)
class MeasuredModel:
    """A model's accuracy on some data, with the boxes of a detector or without; AP where it was measured."""

    sha256: str
    precision: str
    data: EvaluatedData
    detector_sha256: str | None
    ap: MetricFigure | None


@dataclass(frozen=True)
class Machine:
    """What latency was measured on."""

    arch: str
    model: str | None
    threads: int

    def in_words(self) -> str:
        """The machine, and threads."""
        name = self.model or "a machine that does not tell its name"
        return f"{name} ({self.arch}), {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True)
class FrontierPoint:
    """A model with both figures.

    Attributes:
        measured: Its accuracy.
        benchmark: Its latency.
        best: Whether no other model of the group is as accurate and faster, or as fast and more accurate;
            False where a figure cannot be drawn.
    """

    measured: MeasuredModel
    benchmark: ReportRecord[BenchmarkReport]
    best: bool = False

    @property
    def ap(self) -> float | None:
        """The accuracy, where it can be drawn."""
        return None if self.measured.ap is None else drawable(self.measured.ap.value)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Its 95 % interval, where it can be drawn."""
        return None if self.measured.ap is None else drawable_interval(self.measured.ap.interval_95)

    @property
    def latency_ms(self) -> float | None:
        """The median of image to poses, where it can be drawn."""
        return drawable(self.benchmark.report.latency_ms.p50)


@dataclass(frozen=True)
class FrontierGroup:
    """Models that may be compared: the same data and boxes, the same machine and threads."""

    data: EvaluatedData
    machine: Machine
    points: tuple[FrontierPoint, ...]


def measured_models(inputs: ReportInputs) -> list[MeasuredModel]:
    """Every model whose accuracy is known, once for each data set; baselines too."""
    reports = [record.report for record in inputs.all_evaluations()]
    models = [_measured(one, one.model, one.metrics) for one in reports]
    models += [_measured(one, one.baseline, one.baseline.metrics) for one in reports if one.baseline]
    found: dict[tuple[str | None, ...], MeasuredModel] = {}
    for model in models:
        found.setdefault(_key(model), model)
    return list(found.values())


def frontier_groups(inputs: ReportInputs) -> list[FrontierGroup]:
    """Models with accuracy and latency, in groups that may be compared."""
    groups: dict[tuple[object, ...], list[FrontierPoint]] = {}
    for measured in measured_models(inputs):
        for benchmark in inputs.benchmarks:
            if benchmark.report.model.sha256 == measured.sha256:
                key = (_key(measured)[1:], _machine(benchmark.report))
                groups.setdefault(key, []).append(FrontierPoint(measured, benchmark))
    return [
        FrontierGroup(points[0].measured.data, _machine(points[0].benchmark.report), mark_best(points))
        for points in groups.values()
    ]


def mark_best(points: Sequence[FrontierPoint]) -> tuple[FrontierPoint, ...]:
    """Marks the points that no other one dominates (the Pareto front)."""
    return tuple(replace(point, best=_is_best(point, points)) for point in points)


def without_latency(inputs: ReportInputs) -> list[str]:
    """Digests of models whose accuracy alone is known."""
    timed = {record.report.model.sha256 for record in inputs.benchmarks}
    return list(dict.fromkeys(m.sha256 for m in measured_models(inputs) if m.sha256 not in timed))


def without_accuracy(inputs: ReportInputs) -> list[str]:
    """Digests of models whose latency alone is known."""
    measured = {model.sha256 for model in measured_models(inputs)}
    found = (record.report.model.sha256 for record in inputs.benchmarks)
    return list(dict.fromkeys(digest for digest in found if digest not in measured))


def _is_best(point: FrontierPoint, points: Sequence[FrontierPoint]) -> bool:
    if (own := _place(point)) is None:
        return False
    return not any(_beats(place, own) for place in map(_place, points) if place is not None)


def _place(point: FrontierPoint) -> tuple[float, float] | None:
    if point.latency_ms is None or point.ap is None:
        return None
    return point.latency_ms, point.ap


def _beats(other: tuple[float, float], own: tuple[float, float]) -> bool:
    return other != own and other[0] <= own[0] and other[1] >= own[1]


def _machine(report: BenchmarkReport) -> Machine:
    return Machine(report.device.arch, report.device.model, report.threads)


def _measured(
    report: EvaluationReport, model: EvaluatedModel | BaselineReport, metrics: Mapping[str, MetricFigure]
) -> MeasuredModel:
    detector = None if report.detector is None else report.detector.sha256
    return MeasuredModel(model.sha256, model.precision, report.dataset, detector, metrics.get("oks_ap"))


def _key(model: MeasuredModel) -> tuple[str | None, ...]:
    data = model.data
    # Two models with other keypoints are not compared on the same ones.
    return (model.sha256, data.digest, data.boxes_from, model.detector_sha256, *data.keypoints)


@dataclass(frozen=True)
class Difference:
    """A paired difference, None where it was not measured.

    Attributes:
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


def keypoint_figures(report: EvaluationReport, inputs: ReportInputs) -> list[KeypointFigures]:
    """By keypoint, in the record's order."""
    other = _record_of_baseline(report, inputs)
    return [
        KeypointFigures(
            name, figures.get(PCK), None if other is None else other.per_keypoint.get(name, {}).get(PCK)
        )
        for name, figures in report.per_keypoint.items()
    ]


def _record_of_baseline(report: EvaluationReport, inputs: ReportInputs) -> EvaluationReport | None:
    """The baseline's own record on the same data with the same boxes."""
    if report.baseline is None:
        return None
    wanted = (report.baseline.sha256, report.dataset, report.detector)
    found = (one.report for one in inputs.all_evaluations())
    return next((one for one in found if (one.model.sha256, one.dataset, one.detector) == wanted), None)
