"""Purged means that the bytes are gone, and not only the rows."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from edgepose.device.monitor.reading import purge_telemetry, read_telemetry
from edgepose.device.monitor.store import TelemetryPlace
from edgepose.errors import ConfigError, DeviceError
from edgepose.records.telemetry_record import RuntimeEvent
from tests.support.telemetry import filled_store, window

AT = "2026-03-01T08:00:00Z"
CANARY = b"a-word-that-is-nowhere-else"


def bytes_below(root: Path) -> bytes:
    """Database, log, whatever else lies there."""
    return b"".join(path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file())


def with_canary(root: Path) -> None:
    store = filled_store(root, 60)
    store.add(None, [(AT, RuntimeEvent(kind="drift_started", subject=CANARY.decode(), value=1.0))])
    store.close()


def test_after_a_purge_no_byte_of_it_is_left(tmp_path: Path) -> None:
    with_canary(tmp_path)
    TelemetryPlace(tmp_path).prometheus.write_bytes(CANARY)
    assert CANARY in bytes_below(tmp_path)
    assert window(3).started_at.encode() in bytes_below(tmp_path)
    assert purge_telemetry(tmp_path) > 0
    left = bytes_below(tmp_path)
    assert CANARY not in left
    assert all(window(number).started_at.encode() not in left for number in range(20))
    assert read_telemetry(tmp_path).windows == ()
    assert read_telemetry(tmp_path).totals is None


def test_deleting_rows_alone_would_leave_bytes(tmp_path: Path) -> None:
    """Negative control of the test above: SQLite as it comes."""
    with_canary(tmp_path)
    connection = sqlite3.connect(TelemetryPlace(tmp_path).database)
    connection.execute("PRAGMA secure_delete = OFF")
    with connection:
        connection.execute("DELETE FROM event")
    assert CANARY in bytes_below(tmp_path)
    connection.close()


def test_a_purge_under_a_run_that_writes_deletes_from_its_log_too(tmp_path: Path) -> None:
    store = filled_store(tmp_path, 5)
    store.add(None, [(AT, RuntimeEvent(kind="drift_started", subject=CANARY.decode(), value=1.0))])
    assert CANARY in (TelemetryPlace(tmp_path).folder / "telemetry.sqlite3-wal").read_bytes()
    purge_telemetry(tmp_path)
    assert CANARY not in bytes_below(tmp_path)
    store.add(window(6), [])
    assert len(read_telemetry(tmp_path).windows) == 1
    store.close()


def test_a_purge_deletes_a_damaged_database_and_the_one_set_aside(tmp_path: Path) -> None:
    with_canary(tmp_path)
    place = TelemetryPlace(tmp_path)
    place.damaged.write_bytes(CANARY)
    place.database.write_bytes(b"damaged " + CANARY)
    purge_telemetry(tmp_path)
    assert CANARY not in bytes_below(tmp_path)


def test_a_reader_that_holds_the_log_makes_the_purge_fail_and_not_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgepose.device.monitor.reading._BUSY_S", 0.2)
    store = filled_store(tmp_path, 5)
    reader = sqlite3.connect(TelemetryPlace(tmp_path).database)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM minute").fetchone()
    with pytest.raises(DeviceError, match=r"Cannot delete the telemetry .*somebody reads it|locked"):
        purge_telemetry(tmp_path)
    reader.close()
    purge_telemetry(tmp_path)
    assert read_telemetry(tmp_path).windows == ()
    store.close()


def test_where_there_is_no_telemetry_that_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no telemetry"):
        purge_telemetry(tmp_path)
    assert list(tmp_path.iterdir()) == []
