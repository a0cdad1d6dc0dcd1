"""The committed locks of devices: whole, well-formed, for every profile, and what the host measures with."""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

import pytest
import tomllib
from msgspec.structs import replace as with_fields
from packaging.requirements import Requirement
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import canonicalize_name, parse_wheel_filename

from edgepose.errors import ConfigError, DeployError
from edgepose.host.bundle import device_lock
from edgepose.host.bundle.device_lock import (
    DeviceLock,
    carries_onnxruntime,
    find_lock,
    format_lock,
    locks_of,
    parse_lock,
    read_lock,
)
from edgepose.host.deploy.ssh import shipment as runtime_wheels
from edgepose.host.deploy.ssh.shipment import WheelTarget, check_lock_serves
from edgepose.records.device_profile import find_profile, load_profiles
from requirements import renew_locks

CHECKOUT = Path(__file__).resolve().parents[4]
PATHS = sorted((CHECKOUT / "requirements" / "device").glob("*.txt"))
LOCKS = [pytest.param(read_lock(path), id=path.stem) for path in PATHS]
PROJECT = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
HOST_HASH = re.compile(r"([a-z0-9-]+)==([^\s;]+)(?: ; [^\\]+)?(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n")
# What computes on a device; a benchmark or gate of the host that ran another version would say little.
MEASURED = ("ai-edge-litert", "numpy", "opencv-python-headless", "onnxruntime")
GOOD = "# demo-1.0-py3-none-any.whl; MIT\ndemo==1.0 --hash=sha256:" + "a" * 64 + "\n"


def host_pins(python: str) -> dict[str, str]:
    return renew_locks.pins_of(CHECKOUT / "requirements" / f"host-{python}.txt")


def unfulfilled(lock: DeviceLock, requirements: list[str], extra: str) -> list[str]:
    """Requirements that count on the lock's device and that no wheel of it fulfils."""
    target = renew_locks.Target(lock.arch, lock.python)
    wanted = [Requirement(text) for text in requirements]
    return [
        str(one)
        for one in wanted
        if target.wants(one, [extra])
        and not one.specifier.contains(lock.version_of(canonicalize_name(one.name)) or "0", prereleases=True)
    ]


def test_there_is_a_lock_for_every_device_that_a_profile_describes() -> None:
    profiles = load_profiles()
    assert len(profiles) >= 6
    for profile in profiles:
        assert len(locks_of(profile)) == len(profile.hardware.python)
        for python in profile.hardware.python:
            lock = find_lock(profile, python)
            assert (lock.arch, lock.python) == (profile.hardware.arch, python)
            assert (lock.version_of("onnxruntime") is not None) == carries_onnxruntime(profile)


def test_a_device_without_a_lock_is_refused_with_the_locked_targets_and_the_command() -> None:
    profile = find_profile("raspberrypi4")
    old = with_fields(profile, hardware=with_fields(profile.hardware, arch="armv7l"))
    for unlocked, python, target in ((old, "3.11", "armv7l-3.11"), (profile, "3.9", "aarch64-3.9")):
        with pytest.raises(DeployError, match="No wheels are locked for") as caught:
            find_lock(unlocked, python)
        assert caught.value.exit_code == 8
        assert "aarch64-3.10, aarch64-3.11, " in caught.value.message
        assert caught.value.hint == f"In a checkout of edgepose: make lock TARGET={target}"


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_lock_is_what_the_command_writes(path: Path) -> None:
    lock, text = read_lock(path), path.read_text()
    header = [line.removeprefix("# ") for line in text.splitlines()[:2]]
    assert format_lock(header, reversed(lock.wheels)) == text
    assert "make lock" in header[1]
    assert f"glibc 2.{lock.glibc_minor} or later" in header[0]
    assert "://" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_wheel_fits_its_device(lock: DeviceLock) -> None:
    version = (3, int(lock.python.removeprefix("3.")))
    platforms = WheelTarget(lock.arch, f"2.{lock.glibc_minor}", lock.python).platforms
    fitting = {*cpython_tags(version, platforms=platforms), *compatible_tags(version, "cp", platforms)}
    for wheel in lock.wheels:
        assert parse_wheel_filename(wheel.file)[3] & fitting, wheel.file
    older = WheelTarget(lock.arch, f"2.{lock.glibc_minor - 1}", lock.python).platforms
    fitting = {*cpython_tags(version, platforms=older), *compatible_tags(version, "cp", older)}
    assert not all(parse_wheel_filename(wheel.file)[3] & fitting for wheel in lock.wheels)


@pytest.mark.parametrize("lock", LOCKS)
def test_the_base_install_is_fulfilled_and_a_missing_or_old_wheel_is_found(lock: DeviceLock) -> None:
    extra = "onnxruntime" if lock.name.endswith("onnxruntime") else ""
    wanted = [*PROJECT["project"]["dependencies"]]
    wanted += PROJECT["project"]["optional-dependencies"][extra] if extra else []
    assert unfulfilled(lock, wanted, extra) == []
    for name in ("tuf", "msgspec", "flatbuffers", "click", "numpy", "opencv-python-headless"):
        assert lock.version_of(name), name
    less = DeviceLock(lock.name, lock.arch, lock.python, tuple(w for w in lock.wheels if w.name != "tuf"))
    assert unfulfilled(less, wanted, extra) == ["tuf<7.1,>=6.0"]
    assert unfulfilled(lock, ["numpy>=1000"], extra) == ["numpy>=1000"]


def test_nothing_is_missing_that_a_wheel_of_this_machines_lock_needs_in_turn() -> None:
    lock = this_machines_lock()
    target = renew_locks.Target(lock.arch, lock.python)
    found = {
        wheel.name: renew_locks.Resolved(wheel, tuple(map(Requirement, metadata.requires(wheel.name) or ())))
        for wheel in lock.wheels
    }
    roots = [Requirement(text) for text in PROJECT["project"]["dependencies"]]
    assert renew_locks.closure(roots, target, found) == (set(found), set())
    del found["urllib3"]
    assert renew_locks.closure(roots, target, found)[1] == {"urllib3~=2.0"}


@pytest.mark.parametrize("lock", LOCKS)
def test_devices_get_the_hosts_versions_but_for_named_exceptions(lock: DeviceLock) -> None:
    host = host_pins(lock.python if lock.python in renew_locks.HOST_PYTHONS else renew_locks.HOST_PYTHONS[0])
    different = {wheel.name for wheel in lock.wheels if host.get(wheel.name) != wheel.version}
    assert different == set(renew_locks.NOT_AS_HOST.get(lock.python, {}))


def test_what_is_measured_here_is_what_ships() -> None:
    pins = host_pins(f"{sys.version_info.major}.{sys.version_info.minor}")
    assert {name: metadata.version(name) for name in MEASURED} == {name: pins[name] for name in MEASURED}


def test_a_device_with_an_older_c_library_than_the_wheels_is_refused() -> None:
    lock = this_machines_lock()
    check_lock_serves(lock, WheelTarget(lock.arch, "2.28", lock.python), "litert")
    with pytest.raises(DeployError, match=r"need glibc 2\.28; the device has 2\.27"):
        check_lock_serves(lock, WheelTarget(lock.arch, "2.27", lock.python), "litert")


def test_a_model_judged_with_another_runtime_than_the_locked_one_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock = this_machines_lock()
    target = WheelTarget(lock.arch, "2.36", lock.python)
    monkeypatch.setattr(runtime_wheels.metadata, "version", lambda _name: "2.0.1")
    with pytest.raises(DeployError, match=r"judged here with ai-edge-litert 2\.0\.1, and the device gets"):
        check_lock_serves(lock, target, "litert")
    # What the board brings is in no lock.
    check_lock_serves(lock, target, "onnxruntime")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only a header\n",
        GOOD.replace("a" * 64, "a" * 63),
        GOOD.replace("demo==1.0", "demo>=1.0"),
        GOOD.replace("demo==1.0", "other==1.0"),
        GOOD.replace("demo==1.0", "demo==1.1"),
        GOOD.replace("# demo", "demo"),
        GOOD.replace(" --hash", " --index-url https://elsewhere.example --hash"),
        GOOD + "--extra-index-url https://elsewhere.example\n",
        GOOD + GOOD,
    ],
)
def test_a_lock_with_any_other_line_is_refused(text: str) -> None:
    assert parse_lock("aarch64-3.11", GOOD).wheels[0].licence == "MIT"
    with pytest.raises(ConfigError, match=r"The lock aarch64-3\.11 ") as caught:
        parse_lock("aarch64-3.11", text)
    assert caught.value.hint == "Write it anew: make lock"


def test_a_wheel_for_another_system_is_no_wheel_of_a_lock() -> None:
    lock = parse_lock("aarch64-3.11", GOOD.replace("none-any", "none-musllinux_1_2_aarch64"))
    with pytest.raises(ConfigError, match="musllinux_1_2_aarch64"):
        _ = lock.glibc_minor


def test_the_locks_travel_inside_the_wheel() -> None:
    build = PROJECT["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["force-include"]["requirements/device"] == "edgepose/_data/requirements/device"
    assert device_lock._FOLDER == "requirements/device"


@pytest.mark.parametrize("python", renew_locks.HOST_PYTHONS)
def test_the_hosts_lock_has_a_digest_for_every_line_and_all_that_is_required(python: str) -> None:
    text = (CHECKOUT / "requirements" / f"host-{python}.txt").read_text()
    assert only_hashed(text)
    assert not only_hashed(text + "extra==1.0\n")
    assert "://" not in text
    pins = host_pins(python)
    wanted = [*renew_locks.project_requirements(renew_locks.HOST_ROOTS)]
    wanted += map(Requirement, PROJECT["build-system"]["requires"])
    target = renew_locks.Target("x86_64", python)
    for one in wanted:
        if target.wants(one):
            assert one.specifier.contains(pins[canonicalize_name(one.name)]), one


def test_the_side_environments_lock_has_a_digest_for_every_line() -> None:
    for path in (CHECKOUT / "edgepose" / "host" / "tools").glob("*.lock.txt"):
        lines = [line for line in path.read_text().splitlines() if "==" in line]
        assert lines
        assert all(line.endswith("\\") for line in lines)


def test_make_setup_installs_nothing_that_is_not_locked() -> None:
    makefile = (CHECKOUT / "Makefile").read_text().replace("\\\n", " ")
    calls = [line for line in makefile.splitlines() if "pip install" in line]
    assert len(calls) == 2
    locked, own = calls
    assert "--require-hashes --no-deps" in locked
    assert "--only-binary=:all:" in locked
    # edgepose itself, built with what the lock installed.
    assert own.endswith("--no-deps --no-build-isolation --editable .")


def only_hashed(text: str) -> bool:
    body = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
    return re.fullmatch(f"(?:{HOST_HASH.pattern})+", body) is not None


def this_machines_lock() -> DeviceLock:
    path = CHECKOUT / "requirements" / "device" / f"x86_64-3.{sys.version_info.minor}.txt"
    return read_lock(path)
