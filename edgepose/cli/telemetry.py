"""``telemetry`` and ``drift`` of both programs: what a device counted about itself and its model."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from edgepose.cli.options import (
    PATH,
    Place,
    free_file,
    json_option,
    local_root_option,
    place_options,
    replaces,
)
from edgepose.cli.output import coloured, say, table, write_report
from edgepose.records.telemetry_record import MANY_PERSONS, TelemetryReport, TelemetryTotals, TelemetryWindow

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
    """One character a value, oldest first, or a value's share of columns: the mean of what is known."""
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


_minutes_option = click.option(
    "--minutes",
    type=click.IntRange(min=1),
    metavar="N",
    help="The newest N minutes of running; all by default.",
)


@click.group(name="telemetry", epilog="Example: edgepose telemetry show --minutes 60")
def command() -> None:
    """Show, export or delete telemetry: counts, times, temperatures and events; no pose, no picture.

    It is written by the service and by runs of an installed model, stays on the device, and is sent nowhere.
    """


@command.command(name="show", epilog="Example: edgepose telemetry show --minutes 60 --json -")
@_minutes_option
@place_options
@json_option
def show_telemetry(*, minutes: int | None, place: Place, json_target: str | None) -> None:
    """Show telemetry as charts in the terminal."""
    report = _read(place, minutes)
    # In a file or a pipe click leaves the colours out.
    write_report(report, json_target, describe_telemetry(report))


@command.command(name="export", epilog="Example: edgepose telemetry export may.csv --format csv")
@replaces(click.argument("file", type=PATH, callback=free_file))
@click.option("--format", "kind", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@_minutes_option
@place_options
def export_telemetry_file(*, file: Path, kind: str, minutes: int | None, place: Place) -> None:
    """Write telemetry to FILE: everything as JSON, or a row a minute as CSV."""
    from edgepose.device.monitor.reading import export_telemetry

    report = _read(place, minutes)
    export_telemetry(report, file, kind)
    say(f"{file}: {len(report.windows)} minutes, {len(report.events)} events.")


@command.command(name="purge", epilog="Example: edgepose telemetry purge --yes")
@click.option("--yes", is_flag=True, help="Do not ask.")
@place_options
@json_option
def purge(*, yes: bool, place: Place, json_target: str | None) -> None:
    """Delete all telemetry: rows, the bytes they left behind, the log and the Prometheus file."""
    from edgepose.device.install.owner import as_service
    from edgepose.device.monitor.reading import purge_telemetry
    from edgepose.records.display_text import visible

    device, root = place
    if not yes:
        whose = root if device is None else device.host
        click.confirm(visible(f"Delete all telemetry of {whose}?"), abort=True, err=True)
    if device is not None:
        freed = device.questions().purge()
    else:
        with as_service(root):
            freed = purge_telemetry(root)
    record = {"schema": "edgepose.telemetry_purge/1", "root": str(root), "freed_bytes": freed}
    write_report(record, json_target, f"Deleted; {freed} bytes are free again.")


def _read(place: Place, minutes: int | None) -> TelemetryReport:
    from edgepose.device.install.owner import as_service
    from edgepose.device.monitor.reading import read_telemetry

    if place.device is not None:
        return place.device.questions().telemetry(minutes)
    with as_service(place.root):
        return read_telemetry(place.root, minutes)


@click.group(name="drift", epilog="Example: edgepose drift show --host pi@camera-3")
def drift_command() -> None:
    """Whether what the camera shows still is what the model was judged on."""


@drift_command.command(name="show", epilog="Example: edgepose-device drift show --json -")
@place_options
@json_option
def show_drift(*, place: Place, json_target: str | None) -> None:
    """Show what drifts, by how much and since when."""
    from edgepose.device.monitor.drift_files import describe_drift, known_drift

    status = known_drift(place.root) if place.device is None else place.device.questions().drift()
    write_report(status, json_target, describe_drift(status))


@drift_command.command(
    name="request", epilog="Example: edgepose drift request --host pi@camera-3 --json request.json"
)
@place_options
@json_option
def show_request(*, place: Place, json_target: str | None) -> None:
    """Show what a device asks for; its JSON is what edgepose distill --request takes."""
    from edgepose.device.monitor.drift_files import asked_for, describe_request

    found = asked_for(place.root) if place.device is None else place.device.questions().request()
    write_report(found, json_target, describe_request(found))


@drift_command.command(name="reset", epilog="Example: edgepose-device drift reset")
@local_root_option
def reset_drift(root: Path) -> None:
    """Learn anew what is usual here: after the camera was moved, or once drift was answered.

    A running service goes on with what it knows; restart it.
    """
    from edgepose.device.install.owner import as_service
    from edgepose.device.monitor.drift_files import DriftFiles

    with as_service(root):
        forgotten = DriftFiles(root).forget()
    say("Forgotten; restart the service." if forgotten else "There was nothing to forget.")
