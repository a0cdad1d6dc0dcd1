"""Where the time goes, and whether the machine kept its speed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgepose.host.model_card.figures import NOT_MEASURED, number
from edgepose.host.report.markup import Markup, bullets, element, joined, paragraph, table
from edgepose.host.report.material import ReportMaterial, ReportRecord
from edgepose.host.report.plots.bars import Stack, stacked_bars
from edgepose.host.report.plots.frame import Words, drawable
from edgepose.host.report.plots.thermal import thermal_plot, thermal_words
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.runtime.benchmark import MLPERF_DURATION_S

_STAGES = ("preprocess", "infer", "decode")
_HEADERS = (
    "model", "machine", "threads", "preprocess ms", "infer ms", "decode ms", "p50 ms", "p90 ms", "p95 ms",
    "p99 ms", "mean ms", "load ms", "first ms", "memory MiB", "frames",
)  # fmt: skip

Bench = ReportRecord[BenchmarkReport]


def section(material: ReportMaterial) -> Markup | None:
    """The part; None without benchmarks."""
    records = material.benchmarks
    if not records:
        return None
    stacks = [Stack(_name(record, material), _stages(record.report)) for record in records]
    words = Words(
        "Median time of each stage",
        "One bar a benchmark: preprocess, infer, decode. The table has the figures.",
    )
    shown = stacked_bars(stacks, words, "median of each stage, ms")
    note = "Stages are medians of their own, so they need not add up to the median of the whole frame."
    return joined(
        element("figure", shown, element("figcaption", note)),
        table("Latency", _HEADERS, [_row(record, material) for record in records]),
        bullets(_endurance(record, material) for record in records),
        *_over_time(records, material),
    )


def _over_time(records: Sequence[Bench], material: ReportMaterial) -> Iterator[Markup]:
    """A plot for each record that has a course of time."""
    plots = [(record, thermal_plot(record.report)) for record in records]
    drawn = [
        element(
            "figure",
            plot,
            element("figcaption", f"{_name(record, material)}. {thermal_words(record.report)}"),
        )
        for record, plot in plots
        if plot is not None
    ]
    if not drawn:
        yield paragraph(
            f"Speed and temperature over the whole time of a benchmark: {NOT_MEASURED} by these records."
        )
    yield from drawn


def _name(record: Bench, material: ReportMaterial) -> str:
    return f"{material.name_of(record.report.model.sha256)}, {_machine(record.report)}"


def _machine(report: BenchmarkReport) -> str:
    return report.device.model or report.device.arch


def _stages(report: BenchmarkReport) -> dict[str, float | None]:
    return {name: drawable(getattr(report.stages_ms, name)) for name in _STAGES}


def _row(record: Bench, material: ReportMaterial) -> tuple[str, ...]:
    report, ms = record.report, record.report.latency_ms
    figures = (
        *(getattr(report.stages_ms, name) for name in _STAGES),
        ms.p50, ms.p90, ms.p95, ms.p99, ms.mean, report.load_ms, report.first_inference_ms,
    )  # fmt: skip
    return (
        material.name_of(report.model.sha256),
        f"{_machine(report)} ({report.device.arch})",
        str(report.threads),
        *(number(figure, 2) for figure in figures),
        number(report.peak_rss_mib, 0),
        str(report.samples),
    )


def _endurance(record: Bench, material: ReportMaterial) -> str:
    report, device = record.report, record.report.device
    retention = (
        NOT_MEASURED
        if drawable(report.retention) is None
        else f"{report.retention:.2f} (speed of the last tenth of the frames over that of the first)"
    )
    celsius = (
        NOT_MEASURED
        if drawable(report.temperature_celsius) is None
        else f"{report.temperature_celsius:.0f} degrees Celsius at the end"
    )
    throttled = {True: "yes", False: "no", None: NOT_MEASURED}[report.throttled]
    short = ""
    if report.duration_s < MLPERF_DURATION_S:
        short = f" It took {report.duration_s:.3g} s, too short to rely on."
    foreign = ""
    if device.profile is not None and not device.is_profile_device:
        foreign = f" This machine is not the device of profile {device.profile}: nothing here is its latency."
    return (
        f"{_name(record, material)}: retention {retention}; temperature {celsius}; throttled: {throttled}."
        f"{short}{foreign}"
    )
