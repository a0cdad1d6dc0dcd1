"""The plot of speed and heat as a file of its own."""

from __future__ import annotations

from edgepose.errors import ConfigError
from edgepose.host.report.plots.frame import standalone
from edgepose.host.report.plots.thermal import FEWEST_POINTS, thermal_plot
from edgepose.host.report.style import STYLE
from edgepose.spec.benchmark_report import BenchmarkReport


def standalone_thermal_plot(report: BenchmarkReport) -> str:
    """An SVG file.

    Raises:
        ConfigError: The record has no course of time.
    """
    plot = thermal_plot(report)
    if plot is None:
        raise ConfigError(
            f"A benchmark of {report.duration_s:.1f} s has no course of time to draw.",
            f"Measure for {FEWEST_POINTS} s or longer; 600 s show how much speed is kept.",
        )
    return standalone(plot, STYLE) + "\n"
