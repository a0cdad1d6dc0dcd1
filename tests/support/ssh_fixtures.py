"""Fixtures for deployments over ssh to this machine; a test module imports those that it uses."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.records.deployment_report import InstallOptions
from edgepose.records.device_profile import DeviceProfile, read_profile
from edgepose.records.record import to_builtins
from edgepose.trust.builtin_models import find_builtin_models
from tests.support.loopback_device import LoopbackDevice
from tests.support.machine_profiles import profile_of_this_machine


@pytest.fixture(scope="session")
def ssh_profile_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A profile whose device is this machine, whatever its speed."""
    path = profile_of_this_machine(
        "raspberrypi4", tmp_path_factory.mktemp("profile"), latency_p95_ms="5000.0", peak_memory_mib="2000.0"
    )
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    path.write_text(re.sub(r"^python = .*$", f'python = ["{version}"]', path.read_text(), flags=re.MULTILINE))
    return path


@pytest.fixture(scope="session")
def ssh_profile(ssh_profile_path: Path) -> DeviceProfile:
    """The same, read."""
    return read_profile(ssh_profile_path)


@pytest.fixture(scope="session")
def ssh_bundles(tmp_path_factory: pytest.TempPathFactory, ssh_profile: DeviceProfile) -> Path:
    """``1.epb`` to ``3.epb``, and ``9.epb``, which this machine is too slow for."""
    folder = tmp_path_factory.mktemp("bundles")
    for version in (1, 2, 3):
        build_bundle(bundle_request(ssh_profile, folder / f"{version}.epb", version))
    build_bundle(bundle_request(impatient(ssh_profile), folder / "9.epb", 9))
    return folder


def bundle_request(profile: DeviceProfile, output: Path, version: int) -> BundleRequest:
    """The built-in pose model alone."""
    model = find_builtin_models().path_of("pose", "int8")
    return BundleRequest(model=model, profile=profile, output=output, bundle_version=version)


def impatient(profile: DeviceProfile) -> DeviceProfile:
    """A budget that no machine keeps."""
    budgets = msgspec.structs.replace(profile.budgets, latency_p95_ms=0.001)
    return msgspec.structs.replace(profile, budgets=budgets)


def install_over_ssh(
    device: LoopbackDevice, bundle: Path, profile: DeviceProfile, **changes: object
) -> dict[str, object]:
    """Installs as ``deploy --host`` does, with parts of the target changed."""
    with connect(device.address(), device.known_hosts) as connection:
        target = replace(RemoteTarget(connection), **changes)  # type: ignore[arg-type]
        target.check(profile)
        return to_builtins(target.install(bundle, InstallOptions(), lambda _line: None))
