"""Damaged databases: set aside, and what can be read goes on living."""

from __future__ import annotations

import random
import sqlite3
from pathlib import Path

import pytest

from edgepose.device.monitor.reading import read_telemetry
from edgepose.device.monitor.recorder import open_or_renew
from edgepose.device.monitor.store import StoreLimits, TelemetryPlace
from edgepose.errors import DeviceError
from tests.support.telemetry import filled_store, window

MINUTES = 60
PAGE = 4096


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    filled_store(tmp_path, MINUTES).close()
    return tmp_path


def overwrite(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(at)
        stream.write(content)


def renewed_minutes(root: Path) -> int | None:
    """Opens; the number of saved minutes, or None where nothing was renewed. A minute more must fit in."""
    store, events = open_or_renew(TelemetryPlace(root), StoreLimits())
    store.add(window(MINUTES), [])
    store.close()
    assert [w for w in read_telemetry(root).windows if w == window(MINUTES).record()]
    return None if not events else int(events[0].value or 0)


def test_a_whole_database_is_not_renewed(root: Path) -> None:
    assert renewed_minutes(root) is None
    assert not TelemetryPlace(root).damaged.exists()


def test_what_can_be_read_of_a_database_with_a_damaged_page_is_saved(root: Path) -> None:
    place = TelemetryPlace(root)
    size = place.database.stat().st_size
    with sqlite3.connect(place.database) as connection:
        (page,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event'").fetchone()
    connection.close()
    assert size > 8 * PAGE
    overwrite(place.database, (page - 1) * PAGE, b"\xff" * PAGE)
    assert renewed_minutes(root) == MINUTES
    assert place.damaged.stat().st_size == size
    assert list(read_telemetry(root).windows) == [window(number).record() for number in range(MINUTES + 1)]


def test_a_file_that_is_no_database_is_kept_aside_and_a_fresh_one_begun(root: Path) -> None:
    place = TelemetryPlace(root)
    overwrite(place.database, 0, b"no database at all ")
    assert renewed_minutes(root) == 0
    assert place.damaged.read_bytes().startswith(b"no database")


def test_a_database_with_other_tables_makes_way(root: Path) -> None:
    place = TelemetryPlace(root)
    with sqlite3.connect(place.database) as connection:
        connection.execute("ALTER TABLE event ADD COLUMN picture BLOB")
    connection.close()
    assert renewed_minutes(root) == MINUTES


@pytest.mark.parametrize("seed", range(25))
def test_whatever_is_overwritten_the_next_run_has_a_database(root: Path, seed: int) -> None:
    chance, database = random.Random(seed), TelemetryPlace(root).database  # noqa: S311 (repeatable)
    size = database.stat().st_size
    if seed % 5 == 4:
        with database.open("r+b") as stream:
            stream.truncate(chance.randrange(size))
    else:
        length = chance.choice([1, 16, 500, PAGE, 3 * PAGE])
        at = chance.randrange(100) if seed % 5 == 0 else chance.randrange(size)
        overwrite(database, at, chance.randbytes(length))
    renewed_minutes(root)


def test_a_torn_end_of_the_log_costs_only_what_was_torn(tmp_path: Path) -> None:
    """A power cut in the middle of a commit: the minutes before it are all there."""
    store = filled_store(tmp_path, 5)
    place = TelemetryPlace(tmp_path)
    log = place.folder / "telemetry.sqlite3-wal"
    whole, database = log.read_bytes(), place.database.read_bytes()
    store.add(window(5), [])
    torn = log.read_bytes()[: len(whole) + 2000]
    store.close()
    log.write_bytes(torn)
    place.database.write_bytes(database)
    store, events = open_or_renew(place, StoreLimits())
    store.close()
    assert events == []
    assert len(read_telemetry(tmp_path).windows) == 5


def test_show_says_that_a_database_is_damaged(root: Path) -> None:
    overwrite(TelemetryPlace(root).database, 0, b"no database at all ")
    with pytest.raises(DeviceError, match="file is not a database"):
        read_telemetry(root)
