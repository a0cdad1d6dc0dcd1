"""Telemetry as a file that a user asked for."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from edgepose.spec.records import to_json
from edgepose.spec.telemetry_record import TIMED_STAGES, TelemetryReport, TelemetryWindow
from edgepose.spec.whole_file import write_whole

_PLAIN = (
    "started_at", "duration_s", "frames", "frames_with_poses", "persons", "dropped", "fps",
    "temperature_celsius", "throttled",
)  # fmt: skip
_FIGURES = ("mean_ms", "p50_ms", "p95_ms", "p99_ms", "max_ms")


def export_telemetry(report: TelemetryReport, path: Path, kind: str) -> None:
    """Writes a report whole or not at all.

    Args:
        report: What to write.
        path: The file, which is replaced.
        kind: ``json`` holds everything, ``csv`` a row a minute.

    Raises:
        ConfigError: It cannot be written.
    """
    text = to_json(report, indent=2) if kind == "json" else csv_text(report)
    write_whole(path, [text.encode()])


def csv_text(report: TelemetryReport) -> str:
    """RFC 4180 with a header; what was not measured is empty."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow([*_PLAIN, *(f"{stage}_{name}" for stage in TIMED_STAGES for name in _FIGURES)])
    writer.writerows(_row(window) for window in report.windows)
    return stream.getvalue()


def _row(window: TelemetryWindow) -> list[object]:
    row = [getattr(window, name) for name in _PLAIN]
    for stage in TIMED_STAGES:
        figures = window.stages.get(stage)
        row += [None if figures is None else getattr(figures, name) for name in _FIGURES]
    return row
