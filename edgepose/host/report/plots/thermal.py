"""Speed and heat over the time of a benchmark."""

from __future__ import annotations

from edgepose.host.report.markup import Markup
from edgepose.host.report.plots.frame import Words
from edgepose.host.report.plots.panels import Marked, Panel, panels
from edgepose.spec.benchmark_report import BenchmarkReport

# Fewer pieces are no course of time.
FEWEST_POINTS = 5
_MINUTES_FROM_S = 300.0


def thermal_plot(report: BenchmarkReport) -> Markup | None:
    """The plot; None where the record has no course of time.

    Args:
        report: A record of a benchmark.
    """
    points = report.timeline
    if len(points) < FEWEST_POINTS:
        return None
    unit, seconds = ("min", 60.0) if report.duration_s >= _MINUTES_FROM_S else ("s", 1.0)
    shown = [
        Panel("median time a frame, ms", tuple(point.p50_ms for point in points), from_zero=True),
        Panel("hottest sensor, °C", tuple(point.temperature_celsius for point in points)),
    ]
    frequencies = tuple(point.cpu_mhz for point in points)
    if any(mhz is not None for mhz in frequencies):
        shown.append(Panel("frequency of the cores, MHz", frequencies, from_zero=True))
    slowed = Marked(
        "something slowed the machine",
        tuple(
            (point.start_s / seconds, (point.start_s + point.duration_s) / seconds)
            for point in points
            if point.throttled
        ),
    )
    middles = [(point.start_s + point.duration_s / 2) / seconds for point in points]
    title = "Speed and heat over the time of a benchmark"
    return panels(shown, middles, slowed, Words(title, thermal_words(report)), f"time, {unit}")


def thermal_words(report: BenchmarkReport) -> str:
    """What can be seen in the plot."""
    kept = report.retention_10_min if report.retention_10_min is not None else report.retention
    speed = "Speed kept: not measured." if kept is None else f"Speed kept at the end: {kept:.2f} of 1."
    marked = {
        True: "Where something slowed the machine, the ground is marked.",
        False: "Nothing slowed the machine.",
        None: "Whether something slowed the machine was not measured.",
    }[report.throttled]
    return f"{speed} {marked}"
