"""The table and the record of the int8 benchmark, on figures made up here."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

_BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(_BENCHMARKS))
    import int8_table

    return int8_table


@pytest.fixture
def methods(table: ModuleType) -> ModuleType:
    import int8_methods

    return int8_methods


def _int8(table: ModuleType, method: str, seed: int, delta: float, **changes: Any) -> Any:
    name = f"m_{'own' if method == table.EDGEPOSE else 'peer'}_{seed}.onnx"
    figures = {
        "file_name": name, "sha256": "00", "size_bytes": 2 * 2**20, "float_ops": seed, "ops": 90,
        "oks_ap": 0.6 + delta, "oks_ap_interval_95": (0.5, 0.7), "delta_ap": delta,
        "delta_ap_interval_95": (delta - 0.01, delta + 0.01), "agreement_oks": 0.98 + delta,
        "seconds": 30.0 + seed,
    }  # fmt: skip
    return table.Cell(model="m", profile="jetson", method=method, seed=seed, **(figures | changes))


def _float(table: ModuleType, method: str, name: str) -> Any:
    return table.Cell(
        model="m", profile="-", method=method, seed=None, file_name=name, size_bytes=5 * 2**20, oks_ap=0.6
    )


def _cells(table: ModuleType) -> list[Any]:
    return [
        _float(table, table.FLOAT_ONNX, "m_float32.onnx"),
        _float(table, table.FLOAT_ONNX2TF, table.onnx2tf_name("m")),
        *[_int8(table, table.PLAIN_ONNX, seed, -0.2) for seed in (0, 1)],
        *[_int8(table, table.EDGEPOSE, seed, -0.001 * (seed + 1)) for seed in (0, 1)],
    ]


def _latencies(table: ModuleType) -> dict[str, Any]:
    own = {"m_peer_0.onnx": 0.5, "m_peer_1.onnx": 0.7, table.onnx2tf_name("m"): 0.4}
    return {f"m_own_{seed}.onnx": table.Latency(p50_ms=4.0 + seed, ratios=own) for seed in (0, 1)}


def _row(text: str, method: str) -> list[str]:
    rows = [line.strip("| ").split(" | ") for line in text.splitlines()]
    return next(row for row in rows if len(row) > 2 and row[2] == method)


def test_a_row_holds_all_draws_and_the_worst_difference(table: ModuleType) -> None:
    text = table.render_table(_cells(table), _latencies(table))
    row = _row(text, table.EDGEPOSE)
    assert row[3] == "0.599, 0.598"
    assert row[4] == "-0.002 [-0.012, +0.008] (worst of 2)"
    assert row[5:9] == ["2.00", "40%", "4.5", "0.40"]
    assert row[9:] == ["0 of 90, 1 of 90", "0.978", "31"]


def test_all_rows_have_as_many_columns_as_the_head(table: ModuleType) -> None:
    refused = table.Cell(model="m", profile="coral", method=table.EDGEPOSE, seed=0, refused="exit 6")
    lines = table.render_table([*_cells(table), refused], _latencies(table)).splitlines()
    assert len({line.count("|") for line in lines}) == 1


def test_a_refused_cell_is_shown_as_refused_and_never_as_a_figure(table: ModuleType) -> None:
    refused = _int8(table, table.EDGEPOSE, 0, 0.0, refused="exit 6", file_name=None, oks_ap=None)
    assert _row(table.render_table([refused], {}), table.EDGEPOSE)[3] == "refused: exit 6"
    half = [refused, _int8(table, table.EDGEPOSE, 1, -0.1)]
    assert _row(table.render_table(half, {}), table.EDGEPOSE)[3] == "refused, 0.500"


def test_what_was_not_measured_is_a_dash(table: ModuleType) -> None:
    row = _row(table.render_table(_cells(table), {}), table.FLOAT_ONNX2TF)
    assert row[4] == row[7] == row[8] == row[10] == "-"


def test_the_record_compares_with_the_named_peer_draw_by_draw(table: ModuleType) -> None:
    described = {"peer": {"name": "p", "version": "1"}, "model_sha256": "00"}
    record = table.comparison_record(_cells(table), _latencies(table), described)
    assert record["schema"] == "edgepose.comparison/1"
    assert record["ratios"] == {"frame_ms": 0.6, "cold_start_ms": None, "peak_rss_mib": None}
    assert record["edgepose"]["worst_delta_ap"] == -0.002
    assert record["peer_result"]["worst_delta_ap"] == -0.2
    assert record["cells"][-1]["over_onnx2tf_float"] == 0.4
    json.dumps(record, allow_nan=False)


def test_every_profile_is_compared_with_a_peer_and_names_are_unique(methods: ModuleType) -> None:
    tasks = methods.tasks_of(["a", "b"], ["raspberrypi5", "coral", "jetson"], [0, 1, 2])
    assert len({task.name for task in tasks}) == len(tasks) == 2 * (3 + 3 * (3 + 2 + 2))
    for profile in ("raspberrypi5", "coral", "jetson"):
        assert methods.methods_for(profile)[-1] == methods.EDGEPOSE
        assert len(methods.methods_for(profile)) > 1
