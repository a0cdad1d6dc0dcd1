"""Reads the log of a training as far as it can be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgepose.host.report.material import TrainingCurve
from edgepose.host.report.plots.frame import drawable
from edgepose.records.record import read_text


def read_training_log(path: Path) -> TrainingCurve:
    """Losses and AP by step.

    Args:
        path: ``metrics.jsonl``; a line that a kill cut short is counted, not fatal.

    Raises:
        ConfigError: The file cannot be read.
    """
    losses: dict[float, float] = {}
    accuracies: dict[float, float] = {}
    unreadable = 0
    for line in read_text(path).splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        step = _figure(entry, "step")
        if step is None:
            unreadable += bool(line.strip())
            continue
        loss, accuracy = _figure(entry, "loss"), _figure(entry.get("validation"), "oks_ap")
        if loss is not None:
            losses[step] = loss
        if accuracy is not None:
            accuracies[step] = accuracy
    return TrainingCurve(tuple(sorted(losses.items())), tuple(sorted(accuracies.items())), unreadable)


def _figure(entry: Any, name: str) -> float | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return drawable(float(value)) if abs(value) < 1e300 else None
