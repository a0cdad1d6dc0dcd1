"""``edgepose drift`` as a user calls it: here, and on a device behind a real sshd."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgepose.device.monitor.drift_files import DriftFiles
from edgepose.records.device_profile import DeviceProfile
from edgepose.records.drift_record import DriftEvent, DriftSize, DriftStatus, RetrainingRequest
from edgepose.records.record import from_json
from tests.support.loopback_device import LoopbackDevice, loopback_device
from tests.support.ssh_fixtures import install_over_ssh, ssh_bundles, ssh_profile, ssh_profile_path

__all__ = ["ssh_bundles", "ssh_profile", "ssh_profile_path"]

_SIZE = DriftSize(psi=2.5, ks=0.5, outside=None, typical=-3.0, reference=-1.0)
EVENT = DriftEvent(feature="scale", kind="shifted", size=_SIZE, since="2026-01-01T00:00:00Z")
STATUS = DriftStatus(model_sha256="a" * 64, learning=False, windows=7, events=(EVENT,), retrain=True)
REQUEST = RetrainingRequest(
    requested_at="2026-01-01T00:05:00Z",
    model="edgepose-s",
    model_sha256="a" * 64,
    bundle_version=4,
    precision="int8",
    recipe=None,
    profile="raspberrypi5",
    reference_sha256=None,
    drifted=(EVENT,),
    pictures=("persons far away",),
)


def fill(root: Path) -> None:
    """As a service leaves it."""
    root.mkdir(exist_ok=True)
    DriftFiles(root).write(None, STATUS)
    DriftFiles(root).ask(REQUEST)


def call(program: str, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", program, "drift", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **environment}
    )


def test_show_says_what_drifts_in_figures_that_people_read(tmp_path: Path) -> None:
    fill(tmp_path / "root")
    shown = call("edgepose.cli.device_main", "show", "--root", tmp_path / "root")
    assert shown.returncode == 0, shown.stderr
    # Samples are logarithms to base 2; what is shown is not.
    assert "scale drifted since 2026-01-01T00:00:00Z: 0.125 instead of 0.5" in shown.stdout
    assert "Retrain" in shown.stdout


def test_where_nothing_is_known_or_damaged_that_is_said(tmp_path: Path) -> None:
    for what in ("show", "request"):
        none = call("edgepose", what, "--root", tmp_path)
        assert none.returncode == 3, none.stderr
    fill(tmp_path)
    DriftFiles(tmp_path).request.write_text("{")
    damaged = call("edgepose", "request", "--root", tmp_path)
    assert damaged.returncode == 3
    assert "Traceback" not in damaged.stderr
    both = call("edgepose", "show", "--root", tmp_path, "--host", "x")
    assert both.returncode == 2


@pytest.fixture(name="remote")
def _remote(tmp_path: Path, ssh_bundles: Path, ssh_profile: DeviceProfile) -> Iterator[LoopbackDevice]:
    with loopback_device(tmp_path / "loopback") as reached:
        install_over_ssh(reached, ssh_bundles / "1.epb", ssh_profile)
        yield reached


@pytest.mark.slow
@pytest.mark.xdist_group("ssh")
def test_a_device_behind_ssh_shows_its_drift_and_hands_out_its_request(
    remote: LoopbackDevice, tmp_path: Path
) -> None:
    place = ["--host", "device", "--ssh-config", remote.config]
    place += ["--host-fingerprint", remote.fingerprint]
    home = str(tmp_path / "config")
    fill(remote.base / "root")
    shown = call("edgepose", "show", *place, "--json", "-", XDG_CONFIG_HOME=home)
    assert shown.returncode == 0, shown.stderr
    assert from_json(shown.stdout, DriftStatus, "what is shown") == STATUS
    saved = tmp_path / "request.json"
    asked = call("edgepose", "request", *place, "--json", saved, XDG_CONFIG_HOME=home)
    assert asked.returncode == 0, asked.stderr
    assert from_json(saved.read_bytes(), RetrainingRequest, "the request") == REQUEST
    assert "persons far away" in asked.stdout
