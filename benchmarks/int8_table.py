"""The table and the record of ``int8_methods.py``: figures in, text out, nothing run.

A cell is one file that was made and measured: one model, profile, method and draw of the calibration crops.
A row of the table holds all draws of the same method.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from edgepose.records.evaluation_report import Interval
from edgepose.records.record import Record

FLOAT_EDGEPOSE = "float32 (edgepose)"
FLOAT_ONNX2TF = "float32 (onnx2tf)"
FLOAT_ONNX = "float32 (source)"
PLAIN_ONNX = "plain onnxruntime quantize_static (per channel, MinMax)"
PLAIN_TFLITE = "plain ai-edge-quantizer"
PLAIN_ONNX2TF = "plain ai-edge-quantizer on onnx2tf's graph"
EDGEPOSE = "edgepose"
NOTHING = "-"

_HEADERS = (
    "model", "profile", "method", "AP", "against float, paired [95 %]", "MiB", "of float", "ms, 1 thread",
    "of onnx2tf float", "float ops", "agreement OKS", "s",
)  # fmt: skip


class Cell(Record, frozen=True, kw_only=True):
    """One file, measured.

    Attributes:
        model: Name of the float model.
        profile: Device profile, or ``-`` for a float file.
        method: How the file was made.
        seed: Draw of the calibration crops; None where nothing is drawn.
        file_name: The file in the work folder; None where none was written.
        sha256: Its digest.
        size_bytes: Its size.
        float_ops: Ops that compute in float.
        ops: All ops.
        oks_ap: AP on the evaluation pictures, a fraction.
        oks_ap_interval_95: Its interval.
        delta_ap: AP minus the float model's, on the same persons.
        delta_ap_interval_95: Its interval, paired.
        agreement_oks: Mean OKS with the float model on held-out calibration crops.
        seconds: Time to make the file, conversion and repair included.
        recipe: Name of the recipe that was carried out.
        refused: Why no file was written; empty otherwise.
    """

    model: str
    profile: str
    method: str
    seed: int | None
    file_name: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    float_ops: int | None = None
    ops: int | None = None
    oks_ap: float | None = None
    oks_ap_interval_95: Interval | None = None
    delta_ap: float | None = None
    delta_ap_interval_95: Interval | None = None
    agreement_oks: float | None = None
    seconds: float | None = None
    recipe: str | None = None
    refused: str = ""


class Latency(Record, frozen=True, kw_only=True):
    """Time of the bare model, measured in turn with the others of its model.

    Attributes:
        p50_ms: Median over the rounds, one thread.
        ratios: Median over rounds of this file's time over another's, by the other's file name.
    """

    p50_ms: float
    ratios: dict[str, float]


Latencies = Mapping[str, Latency]


def render_table(cells: Sequence[Cell], latencies: Latencies) -> str:
    """The table in Markdown, a row a method; where draws differ, all are shown or the worst.

    Args:
        cells: In the order of the rows.
        latencies: By file name.
    """
    rows = [_row(group, _float_of(group[0].model, cells), latencies) for group in _groups(cells)]
    lines = [_line(_HEADERS), "|" + "---|" * len(_HEADERS)]
    return "\n".join(lines + [_line(row) for row in rows])


def comparison_record(
    cells: Sequence[Cell], latencies: Latencies, described: Mapping[str, Any]
) -> dict[str, Any]:
    """The ``edgepose.comparison/1`` record.

    Edgepose's and the peer's own figures are those of the first model for the profile on which both write
    ONNX; the other cells stand under ``cells``.

    Args:
        cells: All of them.
        latencies: By file name.
        described: ``peer``, ``same_work``, ``command``, ``versions`` and what else describes the run.
    """
    first = cells[0].model if cells else ""
    peer = [c for c in cells if c.model == first and c.method == PLAIN_ONNX]
    profiles = {c.profile for c in peer}
    own = [c for c in cells if c.model == first and c.method == EDGEPOSE and c.profile in profiles]
    return {
        "schema": "edgepose.comparison/1",
        "name": "int8_methods",
        **described,
        "edgepose": _summary(own, latencies),
        "peer_result": _summary(peer, latencies),
        "ratios": {"frame_ms": _ratio(own, peer, latencies), "cold_start_ms": None, "peak_rss_mib": None},
        "agreement": {
            "oks_with_float_edgepose": _worst(c.agreement_oks for c in own),
            "oks_with_float_peer": _worst(c.agreement_oks for c in peer),
        },
        "cells": [_with_latency(cell, latencies) for cell in cells],
    }


def _groups(cells: Iterable[Cell]) -> list[list[Cell]]:
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        found.setdefault((cell.model, cell.profile, cell.method), []).append(cell)
    return list(found.values())


def _float_of(model: str, cells: Iterable[Cell]) -> Cell | None:
    """The float file that sizes are shares of: the source itself."""
    return next((c for c in cells if c.model == model and c.method == FLOAT_ONNX), None)


def _line(row: Iterable[str]) -> str:
    return "| " + " | ".join(row) + " |"


def _row(group: Sequence[Cell], source: Cell | None, latencies: Latencies) -> tuple[str, ...]:
    head = (group[0].model, group[0].profile, group[0].method)
    made = [cell for cell in group if cell.file_name is not None]
    if not made:
        return (*head, f"refused: {group[0].refused}", *[NOTHING] * (len(_HEADERS) - 4))
    aps = ", ".join(_figure(cell.oks_ap, "{:.3f}") if cell in made else "refused" for cell in group)
    known = [cell.size_bytes for cell in made if cell.size_bytes is not None]
    size = max(known) if known else None
    share = size / source.size_bytes if size and source and source.size_bytes else None
    timed = _times_of(made, latencies)
    return (
        *head,
        aps,
        _worst_delta(made),
        _figure(None if size is None else size / 2**20, "{:.2f}"),
        _figure(share, "{:.0%}"),
        _figure(_median(entry.p50_ms for entry in timed), "{:.1f}"),
        _figure(_over_onnx2tf(timed, made[0].model), "{:.2f}"),
        _float_ops(made),
        _figure(_worst(cell.agreement_oks for cell in made), "{:.3f}"),
        _figure(max((c.seconds for c in made if c.seconds is not None), default=None), "{:.0f}"),
    )


def _worst_delta(made: Sequence[Cell]) -> str:
    known = [cell for cell in made if cell.delta_ap is not None]
    if not known:
        return NOTHING
    worst = min(known, key=lambda cell: cell.delta_ap or 0.0)
    text = _figure(worst.delta_ap, "{:+.3f}")
    if worst.delta_ap_interval_95 is not None:
        low, high = worst.delta_ap_interval_95
        text += f" [{low:+.3f}, {high:+.3f}]"
    return f"{text} (worst of {len(known)})" if len(known) > 1 else text


def _float_ops(made: Sequence[Cell]) -> str:
    texts = dict.fromkeys(f"{c.float_ops} of {c.ops}" for c in made if c.float_ops is not None)
    return ", ".join(texts) or NOTHING


def _over_onnx2tf(timed: Sequence[Latency], model: str) -> float | None:
    return _median(
        entry.ratios[name] for entry in timed for name in [onnx2tf_name(model)] if name in entry.ratios
    )


def onnx2tf_name(model: str) -> str:
    """File name of a model's float TFLite by onnx2tf, which times are compared with."""
    return f"{model}_onnx2tf_float32.tflite"


def _times_of(cells: Iterable[Cell], latencies: Latencies) -> list[Latency]:
    names = [cell.file_name for cell in cells if cell.file_name is not None]
    return [latencies[name] for name in names if name in latencies]


def _figure(value: float | None, shape: str) -> str:
    return NOTHING if value is None else shape.format(value)


def _median(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.median(known) if known else None


def _worst(values: Iterable[float | None]) -> float | None:
    return min((value for value in values if value is not None), default=None)


def _summary(cells: Sequence[Cell], latencies: Latencies) -> dict[str, Any]:
    timed = _times_of(cells, latencies)
    return {
        "model": cells[0].model if cells else None,
        "profile": cells[0].profile if cells else None,
        "method": cells[0].method if cells else None,
        "oks_ap": {str(cell.seed): cell.oks_ap for cell in cells},
        "worst_delta_ap": _worst(cell.delta_ap for cell in cells),
        "size_bytes": max((c.size_bytes for c in cells if c.size_bytes is not None), default=None),
        "frame_ms": _median(entry.p50_ms for entry in timed),
    }


def _ratio(own: Sequence[Cell], peer: Sequence[Cell], latencies: Latencies) -> float | None:
    """Median of edgepose's time over the peer's, draw by draw."""
    by_seed = {cell.seed: cell.file_name for cell in peer if cell.file_name is not None}
    found = []
    for cell in own:
        other = by_seed.get(cell.seed)
        entry = latencies.get(cell.file_name or "")
        if entry is not None and other in entry.ratios:
            found.append(entry.ratios[other])
    return _median(found)


def _with_latency(cell: Cell, latencies: Latencies) -> dict[str, Any]:
    entry = latencies.get(cell.file_name or "")
    over = None if entry is None else entry.ratios.get(onnx2tf_name(cell.model))
    return {
        **msgspec.to_builtins(cell),
        "p50_ms": None if entry is None else entry.p50_ms,
        "over_onnx2tf_float": over,
    }
