"""The unit's text, what systemd thinks of it, and that it is written whole."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgepose.accelerators import accelerator, device_kinds_of
from edgepose.cli import device_service
from edgepose.device.units import installation
from edgepose.device.units.installation import UnitPlace, group_names, install_unit, remove_unit
from edgepose.device.units.service_unit import (
    CAMERA_UNIT,
    UNIT_NAME,
    ServiceRequest,
    plan_units,
    service_unit,
)
from edgepose.errors import ConfigError, DeployError
from edgepose.records.device_profile import find_profile

REQUEST = ServiceRequest("/usr/bin/true", "/var/lib/edgepose/root", "v4l2:///dev/video0")
MOST_EXPOSURE = 1.5


def exposure(unit: Path) -> float:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    call = ["systemd-analyze", "security", "--offline=yes", "--no-pager", unit]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert found, done.stderr
    return float(found[1])


@pytest.mark.parametrize("names", [(), ("edgetpu", "tensorrt", "cuda")])
def test_systemd_finds_little_exposed(tmp_path: Path, names: tuple[str, ...]) -> None:
    devices = tuple(device for kind in device_kinds_of(map(accelerator, names)) for device in kind.allow)
    request = ServiceRequest("/usr/bin/true", "/srv/root", "0", devices=("char-video4linux rw", *devices))
    hardened, naked = tmp_path / UNIT_NAME, tmp_path / "naked.service"
    hardened.write_text(service_unit(request))
    naked.write_text("[Service]\nExecStart=/usr/bin/true\n")
    assert exposure(hardened) <= MOST_EXPOSURE
    # The negative control: a unit without the directives is judged unsafe.
    assert exposure(naked) > 9


def test_systemd_reads_every_directive(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze: apt install systemd")
    unit = tmp_path / UNIT_NAME
    unit.write_text(service_unit(REQUEST))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert UNIT_NAME not in done.stderr, done.stderr


def test_the_camera_and_the_notice_are_kept_and_the_network_is_not() -> None:
    text = service_unit(REQUEST)
    for line in (
        "Type=notify", "WatchdogSec=30", "DeviceAllow=char-video4linux rw", "SupplementaryGroups=video",
        "PrivateNetwork=yes", "IPAddressDeny=any", "RestrictAddressFamilies=AF_UNIX", "LimitCORE=0",
        "ReadWritePaths=/var/lib/edgepose/root/var",
        "ExecStartPre=+/usr/bin/true service-begin --root /var/lib/edgepose/root --user edgepose",
        "ExecStart=/usr/bin/true service v4l2:///dev/video0 --root /var/lib/edgepose/root",
    ):  # fmt: skip
        assert line in text.splitlines(), line


@pytest.mark.parametrize("source", ["a b", "x;id", "$HOME", "-v", 'a"b', "a\nExecStartPre=/bin/sh"])
def test_a_source_that_systemd_would_read_otherwise_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="cannot stand in a systemd unit"):
        ServiceRequest("/usr/bin/true", "/srv/root", source)


def test_a_percent_sign_is_no_specifier() -> None:
    assert "a%%b" in service_unit(ServiceRequest("/usr/bin/true", "/srv/root", "a%b"))


def test_a_unit_is_written_enabled_and_removed(tmp_path: Path) -> None:
    place = UnitPlace(tmp_path, live=False)
    install_unit("[Service]\n", place)
    link = tmp_path / "multi-user.target.wants" / UNIT_NAME
    assert link.resolve() == place.unit
    assert sorted(path.name for path in tmp_path.iterdir()) == [UNIT_NAME, "multi-user.target.wants"]
    assert remove_unit(place)
    assert not link.is_symlink()
    assert not remove_unit(place)


def test_the_unit_before_stays_where_systemd_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = UnitPlace(tmp_path)
    place.unit.write_text("before")

    def refuse(*_words: str) -> None:
        raise DeployError("systemctl daemon-reload failed.")

    monkeypatch.setattr(installation, "_systemctl", refuse)
    with pytest.raises(DeployError, match="daemon-reload"):
        install_unit("after", place)
    assert place.unit.read_text() == "before"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"Cannot write .* try sudo"):
        install_unit("x", UnitPlace(tmp_path / "missing", live=False))


def test_a_network_camera_gets_a_unit_of_its_own_that_reaches_it_alone(tmp_path: Path) -> None:
    plan = plan_units(
        "rtsp://user:s3cret@192.0.2.7:554/live", Path("/srv/root"), "edgepose", Path("/usr/bin/true")
    )
    assert plan.address is not None
    assert plan.address.reveal() == "rtsp://user:s3cret@192.0.2.7:554/live"
    assert "s3cret" not in repr(plan)
    (camera_name, camera), (service_name, service) = plan.units
    assert (camera_name, service_name) == (CAMERA_UNIT, UNIT_NAME)
    for line in (
        "IPAddressDeny=any", "IPAddressAllow=192.0.2.7", "InaccessiblePaths=-/srv/root",
        "LoadCredential=camera:/etc/edgepose/camera.url",
    ):  # fmt: skip
        assert line in camera.splitlines(), line
    assert "PrivateNetwork=yes" in service
    assert "service shared:///run/edgepose-camera" in service
    assert f"After={CAMERA_UNIT}" in service
    assert "s3cret" not in camera + service
    unit = tmp_path / CAMERA_UNIT
    unit.write_text(camera)
    assert exposure(unit) <= 2.0


def test_a_network_camera_with_a_name_gets_no_unit() -> None:
    with pytest.raises(ConfigError, match="needs a name server"):
        plan_units("rtsp://camera/live", Path("/srv/root"), "edgepose", Path("/usr/bin/true"))


def test_a_camera_of_this_machine_needs_one_unit() -> None:
    plan = plan_units("v4l2:///dev/video0", Path("/srv/root"), "edgepose", Path("/usr/bin/true"))
    assert [name for name, _ in plan.units] == [UNIT_NAME]
    assert plan.address is None


def test_a_network_cameras_password_lies_where_its_unit_looks_for_it_and_goes_with_it(tmp_path: Path) -> None:
    folder, source = tmp_path / "card/etc/systemd/system", "rtsp://user:s3cret@192.0.2.7/live"
    folder.mkdir(parents=True)
    call = ["--systemd-dir", str(folder)]
    runner = CliRunner()
    done = runner.invoke(
        device_service.units_command, ["install", source, "--root", str(tmp_path / "root"), *call]
    )
    assert done.exit_code == 0, done.output
    text = (folder / "edgepose-camera.service").read_text()
    (named,) = re.findall(r"^LoadCredential=camera:(.*)$", text, re.MULTILINE)
    secret = tmp_path / "card" / named.lstrip("/")
    assert secret.read_text() == f"{source}\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert "s3cret" not in text + (folder / "edgepose.service").read_text() + done.output
    assert runner.invoke(device_service.units_command, ["remove", *call]).exit_code == 0
    assert not secret.exists()
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def devices_in(unit: str) -> list[str]:
    return re.findall(r"^DeviceAllow=(.*)$", unit, re.MULTILINE)


PLACE = (Path("/srv/root"), "edgepose", Path("/usr/bin/true"))


@pytest.mark.parametrize(
    ("profile", "source", "needed", "group"),
    [
        ("coral-usb-pi4", "v4l2:///dev/video0", "char-usb_device rw", "plugdev"),
        ("coral-dev-board", "v4l2:///dev/video0", "/dev/apex_0 rw", "apex"),
        ("jetson-orin-nano", "csi://0", "/dev/nvhost-ctrl-gpu rw", "render"),
        ("raspberrypi5", "picamera2://0", "char-media rw", "video"),
    ],
)
def test_the_unit_lets_the_profiles_accelerator_and_camera_in(
    profile: str, source: str, needed: str, group: str
) -> None:
    ((_, unit),) = plan_units(source, *PLACE, find_profile(profile)).units
    assert {needed, "char-video4linux rw"} <= set(devices_in(unit))
    assert group in re.findall(r"^SupplementaryGroups=(.*)$", unit, re.MULTILINE)[0].split()


def test_a_unit_without_an_accelerator_opens_the_camera_alone() -> None:
    ((_, unit),) = plan_units("v4l2:///dev/video0", *PLACE, find_profile("raspberrypi4")).units
    assert devices_in(unit) == ["char-video4linux rw"]
    ((_, sensor),) = plan_units("picamera2://0", *PLACE).units
    assert devices_in(sensor) == ["char-video4linux rw", "char-media rw", "char-dma_heap rw"]


def test_behind_a_network_camera_the_accelerator_stays_and_the_camera_goes() -> None:
    plan = plan_units("rtsp://192.0.2.7/live", *PLACE, find_profile("coral-usb-pi4"))
    (_, camera), (_, service) = plan.units
    assert devices_in(camera) == []
    assert devices_in(service) == ["/dev/apex_0 rw", "char-apex rw", "char-usb_device rw"]


def test_a_group_that_the_device_lacks_is_left_out_or_systemd_would_not_start_the_service(
    tmp_path: Path,
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/group").write_text("root:x:0:\nvideo:x:44:\nplugdev:x:46:pi\n")
    has_group = group_names(tmp_path).__contains__
    ((_, unit),) = plan_units("0", *PLACE, find_profile("coral-usb-pi4"), has_group).units
    assert "SupplementaryGroups=video plugdev" in unit.splitlines()
    assert group_names(tmp_path / "missing") == frozenset()


def test_units_show_takes_a_profile_and_install_that_of_the_installed_bundle() -> None:
    call = ["show", "0", "--root", "/nowhere/root", "--profile", "coral"]
    done = CliRunner().invoke(device_service.units_command, call)
    assert done.exit_code == 0, done.output
    assert "char-usb_device rw" in devices_in(done.output)
    done = CliRunner().invoke(device_service.units_command, call[:-2])
    assert devices_in(done.output) == ["char-video4linux rw"]
