"""The newest figures in Prometheus's text format, for whoever scrapes on this device. Pure text.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, ``_total`` for counters. The
format is https://prometheus.io/docs/instrumenting/exposition_formats/; node_exporter's textfile collector
reads it and refuses time stamps, so there are none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from edgepose import __version__
from edgepose.device.telemetry.duration_histogram import BOUNDS_MS, DurationHistogram
from edgepose.device.telemetry.window import Window
from edgepose.spec.telemetry_record import EventKind

# Every second octave is enough for an alarm: 0.25 ms to 16 s.
_EXPOSED_BUCKETS = range(8, 73, 8)


@dataclass(frozen=True)
class Exposure:
    """What is exposed.

    Attributes:
        total: Everything since this run began.
        last: The last window that ended, None before.
        events: Number of events by kind since this run began.
        paused: Whether windows cannot be stored now.
    """

    total: Window
    last: Window | None
    events: Mapping[EventKind, int]
    paused: bool


def prometheus_text(exposure: Exposure) -> str:
    """The file's content."""
    total, last = exposure.total, exposure.last
    lines = [
        *_family("build_info", "gauge", "What runs.", [(f'{{version="{__version__}"}}', 1)]),
        *_counter("frames_total", "Frames processed since this run began.", total.frames),
        *_counter("frames_with_poses_total", "Frames with somebody in them.", total.frames_with_poses),
        *_counter("frames_dropped_total", "Frames that the source dropped.", total.dropped),
        *_counter("persons_total", "Reported persons, summed over the frames.", total.persons),
        *_gauge("running_seconds", "Time that this run counted.", round(total.duration_s, 3)),
        *_gauge("telemetry_paused", "1 while windows cannot be stored.", int(exposure.paused)),
        *_family(
            "events_total",
            "counter",
            "Events since this run began.",
            [(f'{{kind="{kind}"}}', count) for kind, count in sorted(exposure.events.items())],
        ),
        *_durations(total),
    ]
    if last is not None:
        lines += _gauge("frames_per_second", "Frames a second in the last window.", last.record().fps)
        if last.temperature_celsius is not None:
            lines += _gauge("temperature_celsius", "The hottest zone.", last.temperature_celsius)
        if last.throttled is not None:
            lines += _gauge("throttled", "1 while the firmware slows the device down.", int(last.throttled))
    return "\n".join(lines) + "\n"


def _counter(name: str, text: str, value: float) -> list[str]:
    return _family(name, "counter", text, [("", value)])


def _gauge(name: str, text: str, value: float) -> list[str]:
    return _family(name, "gauge", text, [("", value)])


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[str, float]]) -> list[str]:
    rows = [f"edgepose_{name}{labels} {value}" for labels, value in samples]
    return [f"# HELP edgepose_{name} {text}", f"# TYPE edgepose_{name} {kind}", *rows] if rows else []


def _durations(total: Window) -> list[str]:
    lines = [
        "# HELP edgepose_stage_duration_seconds Time of a stage; total is from the capture to the poses.",
        "# TYPE edgepose_stage_duration_seconds histogram",
    ]
    for stage, durations in total.durations.items():
        lines += _histogram(f'stage="{stage}"', durations)
    return lines


def _histogram(label: str, durations: DurationHistogram) -> list[str]:
    name = "edgepose_stage_duration_seconds"
    rows = [
        f'{name}_bucket{{{label},le="{BOUNDS_MS[bucket] / 1000:g}"}} '
        f"{sum(count for index, count in durations.counts.items() if index <= bucket)}"
        for bucket in _EXPOSED_BUCKETS
    ]
    return [
        *rows,
        f'{name}_bucket{{{label},le="+Inf"}} {durations.count}',
        f"{name}_sum{{{label}}} {durations.sum_us / 1e6}",
        f"{name}_count{{{label}}} {durations.count}",
    ]
