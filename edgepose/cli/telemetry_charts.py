"""Telemetry as text: small charts that a terminal can show."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence

from edgepose.cli.output import coloured, table
from edgepose.spec.telemetry_record import MANY_PERSONS, TelemetryReport, TelemetryTotals, TelemetryWindow

_LEVELS = "▁▂▃▄▅▆▇█"
_LABEL_WIDTH = 22
_BAR_WIDTH = 40
_SHOWN_EVENTS = 10
_WARNINGS = frozenset({"drift_started", "camera_lost", "camera_frozen", "telemetry_paused", "store_renewed"})


def describe_telemetry(report: TelemetryReport) -> str:
    """Charts, tables and the last events."""
    if report.totals is None:
        return f"{report.root}: telemetry without a minute yet."
    parts = [_headline(report, report.totals), _lines(report.windows), _stages(report.totals)]
    parts += [_latency_bars(report.totals), _person_bars(report.totals), _events(report)]
    return "\n\n".join(part for part in parts if part)


def sparkline(values: Sequence[float | None], columns: int) -> str:
    """One character a value, or a value's share of columns where there are more: the mean of what is known.

    Args:
        values: Oldest first; None where nothing was measured.
        columns: At most so many characters.
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    cells = [_mean(group) for group in _groups(values, columns)]
    span = high - low
    # What never changes is a line: at the bottom where it is nothing, else in the middle.
    flat = 3 if high else 0
    return "".join(
        " " if cell is None else _LEVELS[round((cell - low) / span * (len(_LEVELS) - 1)) if span else flat]
        for cell in cells
    )


def _groups(values: Sequence[float | None], columns: int) -> list[Sequence[float | None]]:
    count = min(len(values), max(columns, 1))
    edges = [round(index * len(values) / count) for index in range(count + 1)]
    return [values[start:end] for start, end in itertools.pairwise(edges)]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _headline(report: TelemetryReport, totals: TelemetryTotals) -> str:
    hours, minutes = divmod(round(totals.duration_s / 60), 60)
    span = f"{report.windows[0].started_at} to {report.windows[-1].started_at}"
    return (
        f"{report.root}: {len(report.windows)} windows, {hours} h {minutes} min of running, {span}\n"
        f"{totals.frames} frames, {totals.fps:.1f} a second; {totals.dropped} dropped; somebody in "
        f"{totals.frames_with_poses}; {report.size_bytes / 1024:.0f} KiB stored here, sent nowhere"
    )


def _lines(windows: Sequence[TelemetryWindow]) -> str:
    columns = max(shutil.get_terminal_size((100, 24)).columns - _LABEL_WIDTH - 24, 20)
    series: dict[str, Callable[[TelemetryWindow], float | None]] = {
        "frames a second": lambda w: w.fps,
        "latency p95, ms": lambda w: w.stages["total"].p95_ms if "total" in w.stages else None,
        "dropped": lambda w: float(w.dropped),
        "persons a frame": lambda w: w.persons / w.frames if w.frames else None,
        "temperature, °C": lambda w: w.temperature_celsius,
        "throttled": lambda w: None if w.throttled is None else float(w.throttled),
    }
    lines = []
    for label, value_of in series.items():
        values = [value_of(window) for window in windows]
        known = [value for value in values if value is not None]
        if known:
            chart = coloured(sparkline(values, columns), "cyan")
            least, most = f"{min(known):.4g}", f"{max(known):.4g}"
            span = least if least == most else f"{least} to {most}"
            lines.append(f"{label:<{_LABEL_WIDTH}}{chart}  {span}")
    return "\n".join(lines)


def _stages(totals: TelemetryTotals) -> str:
    rows = [
        (stage, f.count, f.mean_ms, f.p50_ms, f.p95_ms, f.p99_ms, f.max_ms)
        for stage, f in totals.stages.items()
    ]
    return table(("stage", "frames", "mean ms", "p50", "p95", "p99", "max"), rows) if rows else ""


def _latency_bars(totals: TelemetryTotals) -> str:
    bars = [
        ("more" if bar.up_to_ms is None else f"up to {bar.up_to_ms:.4g} ms", bar.frames)
        for bar in totals.latency_histogram
    ]
    return _bars("From capture to poses:", bars)


def _person_bars(totals: TelemetryTotals) -> str:
    bars = [
        (f"{persons}{' or more' if persons == MANY_PERSONS else ''} in view", frames)
        for persons, frames in enumerate(totals.persons_a_frame)
    ]
    return _bars("Persons:", bars)


def _bars(title: str, bars: Sequence[tuple[str, int]]) -> str:
    most = max((frames for _, frames in bars), default=0)
    if not most:
        return ""
    lines = [
        f"  {label:<{_LABEL_WIDTH - 2}}"
        + coloured(f"{'█' * max(round(frames / most * _BAR_WIDTH), frames > 0):<{_BAR_WIDTH}}", "cyan")
        + f" {frames}"
        for label, frames in bars
    ]
    return "\n".join([title, *lines])


def _events(report: TelemetryReport) -> str:
    if not report.events:
        return ""
    shown = report.events[-_SHOWN_EVENTS:]
    lines = [f"Events, the last {len(shown)} of {len(report.events)}:"]
    for event in shown:
        value = "" if event.value is None else f" {event.value:.4g}"
        text = f"  {event.at}  {event.kind.replace('_', ' ')} {event.subject}{value}".rstrip()
        lines.append(coloured(text, "yellow") if event.kind in _WARNINGS else text)
    return "\n".join(lines)
