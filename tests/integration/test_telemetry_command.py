"""``edgepose telemetry`` as a user calls it: here, and on a device behind a real sshd."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepose.device.monitor.store import TelemetryPlace
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.telemetry_record import RuntimeEvent
from tests.support.loopback_device import LoopbackDevice, loopback_device
from tests.support.ssh_fixtures import install_over_ssh, ssh_bundles, ssh_profile, ssh_profile_path
from tests.support.telemetry import filled_store, window

__all__ = ["ssh_bundles", "ssh_profile", "ssh_profile_path"]

AT = "2026-03-01T08:10:00Z"


def call(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", program, "telemetry", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )


def device(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return call("edgepose.cli.device_main", *arguments, **environment)


def fill(root: Path, minutes: int = 12) -> None:
    store = filled_store(root, minutes)
    store.add(None, [(AT, RuntimeEvent(kind="drift_started", subject="brightness", value=0.31))])
    store.close()


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    fill(tmp_path / "root")
    return tmp_path / "root"


def bytes_below(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_show_draws_charts_and_leaves_colours_out_of_a_pipe(root: Path) -> None:
    shown = device("show", "--root", root)
    assert shown.returncode == 0, shown.stderr
    assert "12 windows" in shown.stdout
    assert "sent nowhere" in shown.stdout
    assert "drift started brightness 0.31" in shown.stdout
    assert set("▁█") <= set(shown.stdout)
    assert "\x1b[" not in shown.stdout
    narrow = device("show", "--root", root, COLUMNS="60")
    spark = [line for line in narrow.stdout.splitlines() if line.startswith(("frames a", "latency", "temp"))]
    assert spark
    assert max(map(len, spark)) <= 60


def test_in_a_terminal_charts_have_colours(root: Path) -> None:
    """The negative control of the test above."""
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "edgepose.cli.device_main", "telemetry", "show", "--root", str(root)]
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        # A terminal whose other side has gone answers EIO.
        with contextlib.suppress(OSError):
            while piece := os.read(ours, 1 << 12):
                shown += piece
    os.close(ours)
    assert process.returncode == 0
    assert b"\x1b[36m" in shown


def test_show_as_json_is_the_whole_record_and_minutes_cut_it(root: Path) -> None:
    shown = json.loads(device("show", "--root", root, "--json", "-").stdout)
    assert shown["schema"] == "edgepose.telemetry/1"
    assert len(shown["windows"]) == 12
    assert shown["totals"]["frames"] == 12 * 30
    assert shown["events"][0]["subject"] == "brightness"
    newest = json.loads(device("show", "--root", root, "--minutes", 3, "--json", "-").stdout)
    assert newest["windows"] == shown["windows"][-3:]


def test_export_writes_every_minute_and_replaces_nothing_unasked(root: Path, tmp_path: Path) -> None:
    record, rows = tmp_path / "t.json", tmp_path / "t.csv"
    assert device("export", record, "--root", root).returncode == 0
    assert len(json.loads(record.read_text())["windows"]) == 12
    assert device("export", rows, "--format", "csv", "--root", root).returncode == 0
    with rows.open(newline="") as stream:
        minutes = list(csv.DictReader(stream))
    assert [minute["started_at"] for minute in minutes] == [window(n).started_at for n in range(12)]
    assert float(minutes[0]["total_p95_ms"]) > 0
    refused = device("export", rows, "--root", root)
    assert refused.returncode == 3
    assert "there already" in refused.stderr
    assert "--force" in refused.stderr
    assert rows.read_text().startswith("started_at,")
    assert device("export", rows, "--root", root, "--force").returncode == 0
    assert json.loads(rows.read_text())["schema"] == "edgepose.telemetry/1"


def test_purge_leaves_no_byte_in_database_and_log(root: Path) -> None:
    dates = [window(number).started_at.encode() for number in range(12)]
    before = bytes_below(root)
    assert all(date in before for date in dates)
    purged = device("purge", "--yes", "--root", root, "--json", "-")
    assert purged.returncode == 0, purged.stderr
    assert json.loads(purged.stdout)["schema"] == "edgepose.telemetry_purge/1"
    left = bytes_below(root)
    assert not [word for word in (*dates, b"brightness") if word in left]
    assert device("show", "--root", root).returncode == 0


def test_purge_asks_first_and_no_answer_deletes_nothing(root: Path) -> None:
    before = bytes_below(root)
    assert device("purge", "--root", root).returncode != 0
    assert bytes_below(root) == before


def test_where_nothing_was_counted_and_where_it_is_damaged_that_is_said(tmp_path: Path, root: Path) -> None:
    (tmp_path / "other").mkdir()
    missing = device("show", "--root", tmp_path / "other")
    assert missing.returncode == 3
    assert "no telemetry" in missing.stderr
    TelemetryPlace(root).database.write_bytes(b"no database" * 1000)
    damaged = device("show", "--root", root)
    assert damaged.returncode == 9
    assert "Traceback" not in damaged.stderr


@pytest.fixture(name="remote")
def _remote(tmp_path: Path, ssh_bundles: Path, ssh_profile: DeviceProfile) -> Iterator[LoopbackDevice]:
    with loopback_device(tmp_path / "loopback") as reached:
        install_over_ssh(reached, ssh_bundles / "1.epb", ssh_profile)
        yield reached


@pytest.mark.slow
@pytest.mark.xdist_group("ssh")
def test_a_device_behind_ssh_shows_exports_and_purges_its_own(remote: LoopbackDevice, tmp_path: Path) -> None:
    root = remote.base / "root"
    home = str(tmp_path / "config")
    place = ["--host", "device", "--ssh-config", remote.config]

    def host(*arguments: object) -> subprocess.CompletedProcess[str]:
        return call("edgepose", *arguments, *place, XDG_CONFIG_HOME=home)

    none = host("show", "--host-fingerprint", remote.fingerprint)
    assert none.returncode == 3, none.stderr
    assert "no telemetry" in none.stderr
    fill(root)
    shown = host("show", "--minutes", 5)
    assert shown.returncode == 0, shown.stderr
    assert "5 windows" in shown.stdout
    saved = tmp_path / "remote.csv"
    assert host("export", saved, "--format", "csv").returncode == 0
    assert len(saved.read_text().splitlines()) == 1 + 12
    assert window(4).started_at.encode() in bytes_below(root / "var" / "telemetry")
    purged = host("purge", "--yes")
    assert purged.returncode == 0, purged.stderr
    assert window(4).started_at.encode() not in bytes_below(root / "var" / "telemetry")
    both = host("show", "--root", root)
    assert both.returncode == 2
