"""What does a deployment cost: the first one, a new model, ten devices against one?

Devices are sshds on this machine, each with a folder of its own, so the figures are about bytes, the protocol
and the installer, not about a link or a device's processor.

With --chroot (root, qemu-user-static, mmdebstrap) an emulated arm64 userland is a device, too. Its seconds
are those of an emulator; only their ratio to each other says something.

Usage: python benchmarks/fleet.py [--devices 10] [--chroot]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.host.deploy.fleet.inventory import read_inventory
from edgepose.host.deploy.fleet.rollout import RolloutPlan, roll_out
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.records.deployment_report import InstallOptions
from edgepose.records.device_profile import DeviceProfile, read_profile
from edgepose.trust.builtin_models import find_builtin_models
from tests.support.loopback_device import LoopbackDevice, copied_device, loopback_device
from tests.support.machine_profiles import profile_of_this_machine

RESULT = Path(__file__).resolve().parent / "results" / "fleet.json"
_FIGURES = Path(__file__).resolve().parent.parent / "calibration_data" / "figures"


def main() -> None:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--devices", type=int, default=10)
    parser.add_argument("--chroot", action="store_true")
    parser.add_argument("--output", type=Path, default=RESULT)
    given = parser.parse_args()
    count: int = given.devices
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["XDG_CONFIG_HOME"] = str(folder / "config")
        profile = profile_here(folder)
        record = {
            "schema": "edgepose.measurement/1",
            "name": "fleet",
            **measure(folder, profile, count),
        }
        if given.chroot:
            record["emulated_arm64"] = emulated(folder / "arm64")
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def profile_here(folder: Path) -> DeviceProfile:
    """This machine as a device."""
    python = f'["{sys.version_info.major}.{sys.version_info.minor}"]'
    return read_profile(
        profile_of_this_machine(
            "raspberrypi4", folder, python=python, latency_p95_ms="5000.0", peak_memory_mib="2000.0"
        )
    )


def measure(folder: Path, profile: DeviceProfile, count: int) -> dict[str, Any]:
    """First deployment, a new version of the same model, another model, one against many."""
    models = find_builtin_models()
    bundles = {
        "first": bundle(folder, profile, models.path_of("pose", "int8"), 1),
        "same_model": bundle(folder, profile, models.path_of("pose", "int8"), 2),
    }
    other = converted(folder)
    bundles["new_model"] = bundle(folder, profile, other, 3)
    with ExitStack() as opened:
        one = opened.enter_context(loopback_device(folder / "one"))
        single = {name: install(one, path, profile) for name, path in bundles.items()}
        single["new_model"]["model_bytes"] = other.stat().st_size
        devices = [
            opened.enter_context(copied_device(folder / f"d{number}", one.base)) for number in range(count)
        ]
        fleets = {}
        for number, members in enumerate((devices[:1], devices), start=4):
            path = bundle(folder, profile, models.path_of("pose", "int8"), number)
            fleets[str(len(members))] = rollout(folder / f"rollout{number}", members, path)
    per_device = fleets[str(count)]["seconds"] / count
    return {
        "one_device": single,
        "rollouts": fleets,
        "seconds_per_device": round(per_device, 2),
        "ten_thousand_on_paper_hours": round(per_device * 10_000 / 3600, 1),
    }


def emulated(folder: Path) -> dict[str, Any]:
    """The same three deployments to an arm64 userland."""
    from tests.support.arm64_device import arm64_device

    folder.mkdir()
    changes = {"arch": '"aarch64"', "delegate": '"cpu"', "python": '["3.11"]'}
    profile = read_profile(
        profile_of_this_machine(
            "raspberrypi4", folder, **changes, latency_p95_ms="60000.0", peak_memory_mib="4000.0"
        )
    )
    model, other = find_builtin_models().path_of("pose", "int8"), converted(folder)
    with arm64_device(folder / "device") as device:
        found = {
            "first": install(device, bundle(folder, profile, model, 1), profile),
            "same_model": install(device, bundle(folder, profile, model, 2), profile),
            "new_model": install(device, bundle(folder, profile, other, 3), profile),
        }
    found["new_model"]["model_bytes"] = other.stat().st_size
    return found


def converted(folder: Path) -> Path:
    """Another model: the built-in one in float16, its agreement with the float one measured."""
    model, float32, target = (folder / name for name in ("f32.onnx", "f32.tflite", "f16.tflite"))
    model.write_bytes(find_builtin_models().path_of("pose", "float32").read_bytes())
    _edgepose("convert", model, "--to", "tflite", "-o", float32)
    _edgepose(
        "quantize", float32, "--profile", "raspberrypi", "--recipe", "float16", "--calibration", _FIGURES,
        "-o", target,
    )  # fmt: skip
    return target


def _edgepose(*words: object) -> None:
    program = str(Path(sys.executable).parent / "edgepose")
    subprocess.run([program, *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def bundle(folder: Path, profile: DeviceProfile, model: Path, version: int) -> Path:
    """A bundle of this version."""
    output = folder / f"{version}.epb"
    build_bundle(BundleRequest(model=model, profile=profile, output=output, bundle_version=version))
    return output


def install(device: LoopbackDevice, path: Path, profile: DeviceProfile) -> dict[str, Any]:
    """Seconds and bytes of one deployment, from the first connection on."""
    begun_ns = time.perf_counter_ns()
    with connect(device.address(), device.known_hosts) as connection:
        target = RemoteTarget(connection)
        target.check(profile)
        done = target.install(path, InstallOptions(), lambda _line: None)
    seconds = (time.perf_counter_ns() - begun_ns) / 1e9
    return {
        "seconds": round(seconds, 2), "bytes_sent": done.bytes_sent, "bundle_bytes": path.stat().st_size,
    }  # fmt: skip


def rollout(folder: Path, devices: list[LoopbackDevice], path: Path) -> dict[str, Any]:
    """One bundle to all devices in one stage."""
    folder.mkdir()
    hosts = {
        f"d{number}": {
            "ansible_host": "127.0.0.1",
            "ansible_port": device.port,
            "ansible_ssh_private_key_file": str(device.folder / "user_key"),
            "edgepose_host_fingerprint": device.fingerprint,
        }
        for number, device in enumerate(devices)
    }
    inventory = folder / "hosts.yml"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
    plan = RolloutPlan(inventory, folder / "rollout", ("100%",))
    plan.folder.mkdir()
    plan.bundle.write_bytes(path.read_bytes())
    report = roll_out(plan, read_inventory(inventory), lambda _line: None)
    if not report.complete:
        raise SystemExit(f"not every device has it: {report.hosts}")
    return {"seconds": round(report.seconds, 2), "devices": len(devices)}


if __name__ == "__main__":
    main()
