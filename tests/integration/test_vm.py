"""An arm64 machine with systemd and a camera: the service, its watchdog, and power cuts at any moment.

Run with ``make test-vm``; takes a quarter of an hour and root.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edgepose.device.install.installed import read_status
from edgepose.errors import DeployError
from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_target import RemoteTarget
from edgepose.records.deployment_report import InstallOptions
from edgepose.records.device_profile import DeviceProfile, read_profile
from edgepose.records.record import to_builtins
from edgepose.trust.builtin_models import find_builtin_models
from tests.support.arm64_vm import Machine, RunningMachine, build_machine, running
from tests.support.machine_profiles import profile_of_this_machine
from tests.support.rtsp_server import MISSING, RtspCamera, has_rtsp_server
from tests.support.ssh_fixtures import impatient
from tests.support.waiting import until

pytestmark = [pytest.mark.vm, pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.xdist_group("vm")]

ROOT = "/var/lib/edgepose/root"
PROGRAM = "/var/lib/edgepose/bin/edgepose-device"
# The whole number, unless somebody has less time (.ci/run).
CUTS = int(os.environ.get("EDGEPOSE_TEST_CUTS", "30"))
# The protocol's number in an IPv4 header.
TCP = 6
# Emulated, on a machine with nothing else to do, a service takes two minutes to its first pose.
FIRST_POSE_S = 1200
NAIVE = """
import hashlib, os, sys
# An installer as many are written: in place, without fsync, the digest beside it.
for turn in range(100000):
    model = os.urandom(1 << 20)
    open("/root/naive.model", "wb").write(model)
    open("/root/naive.sha256", "w").write(hashlib.sha256(model).hexdigest())
"""


@pytest.fixture(scope="module", name="machine")
def _machine(tmp_path_factory: pytest.TempPathFactory) -> Machine:
    # Building takes three minutes; whoever works on these tests keeps the machine.
    kept = os.environ.get("EDGEPOSE_TEST_VM")
    return build_machine(tmp_path_factory.mktemp("vm") / "machine" if kept is None else Path(kept))


@pytest.fixture(scope="module", name="profile")
def _profile(tmp_path_factory: pytest.TempPathFactory) -> DeviceProfile:
    """A profile for tests alone: its budgets are those of an emulated machine."""
    folder = tmp_path_factory.mktemp("profile")
    changes = {"arch": '"aarch64"', "python": '["3.11"]', "threads": "2", "memory_mib": "512"}
    return read_profile(
        profile_of_this_machine(
            "raspberrypi4", folder, **changes, latency_p95_ms="60000.0", peak_memory_mib="1000.0"
        )
    )


@pytest.fixture(scope="module", name="deployed")
def _deployed(machine: Machine, profile: DeviceProfile, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The disk of a machine that version 1 was deployed to over ssh."""
    folder = tmp_path_factory.mktemp("deployed")
    bundle = bundle_of(profile, folder, 1)
    with running(machine, folder / "run") as vm:
        assert install(vm, bundle, profile)["health"]["verified_on"] == "device"
        vm.ssh("sync")
        vm.snapshot(folder / "disk.img")
    (folder / "run" / "disk.img").unlink()
    return folder / "disk.img"


@pytest.fixture(scope="module", name="vm")
def _vm(
    machine: Machine, deployed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningMachine]:
    with running(machine, tmp_path_factory.mktemp("run") / "vm", deployed) as vm:
        yield vm


def bundle_of(profile: DeviceProfile, folder: Path, version: int) -> Path:
    model = find_builtin_models().path_of("pose", "int8")
    output = folder / f"{version}.epb"
    build_bundle(BundleRequest(model=model, profile=profile, output=output, bundle_version=version))
    return output


def install(vm: RunningMachine, bundle: Path, profile: DeviceProfile) -> dict[str, Any]:
    with connect(vm.address(), vm.known_hosts) as connection:
        target = RemoteTarget(connection)
        target.check(profile)
        return to_builtins(target.install(bundle, InstallOptions(), lambda _line: None))


def service(vm: RunningMachine) -> dict[str, str]:
    shown = vm.ssh("systemctl show edgepose -p ActiveState,SubState,MainPID,NRestarts,Result", check=False)
    return dict(line.partition("=")[::2] for line in shown.splitlines())


def wait_for_service(vm: RunningMachine, restarts: int = 0, other_than: str = "0") -> dict[str, str]:
    def is_active() -> dict[str, str]:
        found = service(vm)
        # Asking costs the machine time that the service needs.
        time.sleep(3)
        return found if found.get("ActiveState") == "active" and found["MainPID"] != other_than else {}

    def journal() -> str:
        return vm.ssh("journalctl -u edgepose --no-pager | tail -30", check=False)

    found = until(is_active, "an active service", last=lambda: (service(vm), journal()), limit_s=FIRST_POSE_S)
    assert int(found["NRestarts"]) >= restarts
    return found


@dataclass(frozen=True)
class Seen:
    """What a process of the service has, at one moment: a camera that is lost is soon that of another one."""

    camera: bool
    model: bool
    seccomp_modes: frozenset[str]


def processes_with_a_camera(vm: RunningMachine) -> dict[str, Seen]:
    """All processes of the service; none while no one has the camera open."""
    shown = vm.ssh(
        "for p in $(cat /sys/fs/cgroup/system.slice/edgepose.service/cgroup.procs); do "
        "echo $p $(ls -l /proc/$p/fd | grep -c /dev/video0) $(grep -c litert /proc/$p/maps) "
        "$(grep -h ^Seccomp: /proc/$p/task/*/status | cut -f2 | sort -u); done 2>/dev/null",
        check=False,
    )
    found = {}
    for line in shown.splitlines():
        match line.split():
            case [pid, cameras, model, *modes] if modes:
                found[pid] = Seen(cameras != "0", model != "0", frozenset(modes))
            case _:
                # It ended meanwhile.
                continue
    return found if any(seen.camera for seen in found.values()) else {}


def test_the_service_runs_with_the_camera_and_is_hardly_exposed(vm: RunningMachine) -> None:
    vm.ssh(f"{PROGRAM} units install v4l2:///dev/video0 --root {ROOT}")
    # Type=notify: active means that a first pose was estimated from the camera.
    wait_for_service(vm)
    shown = vm.ssh("systemd-analyze security edgepose --no-pager | tail -1")
    found = re.search(r"edgepose\.service: ([0-9.]+)", shown)
    assert found
    assert float(found[1]) <= 1.5
    pid = service(vm)["MainPID"]
    assert vm.ssh(f"ps -o user= -p {pid}").strip() == "edgepose"
    # The models' process has no camera, the camera's process no model.
    processes = until(lambda: processes_with_a_camera(vm), "a process with the camera open")
    assert [seen.model for seen in processes.values() if seen.camera] == [False]
    assert not processes[pid].camera
    assert processes[pid].model
    # 2 is SECCOMP_MODE_FILTER (proc(5)), in every thread of every process.
    assert {mode for seen in processes.values() for mode in seen.seccomp_modes} == {"2"}
    status = json.loads(vm.ssh(f"{PROGRAM} status --root {ROOT} --json -"))
    assert status["sandbox"]["enforced"] is True
    # Debian's kernel has Landlock, and the unit lets the service use it: nothing is missing.
    assert "landlock" in status["sandbox"]["mechanisms"]
    assert "not_guaranteed" not in status["sandbox"]
    assert status["writable_by_service"] is False


def test_the_services_user_owns_what_it_writes_and_an_edited_slot_does_not_start(vm: RunningMachine) -> None:
    wait_for_service(vm)
    names = ("", "state.json", "slots", "slots/a/manifest.json", "var", "var/running.json")
    found = vm.ssh("stat -c %U " + " ".join(f"{ROOT}/{name}" for name in names)).split()
    assert found == ["root"] * 4 + ["edgepose"] * 2
    as_service = "setpriv --reuid edgepose --regid edgepose --clear-groups sh -c"
    for act in (
        f"echo x >> {ROOT}/state.json",
        f"rm {ROOT}/slots/a/manifest.json",
        f"mv {ROOT}/slots {ROOT}/x",
    ):
        assert vm.ssh(f"{as_service} '{act}' 2>&1; echo $?", check=False).endswith(("1\n", "2\n")), act
    # The negative control: what is its own it may write.
    vm.ssh(f"{as_service} 'touch {ROOT}/var/own && rm {ROOT}/var/own'")
    model = vm.ssh(f"ls {ROOT}/slots/a/model.*").strip()
    vm.ssh(f"cp -p {model} /root/kept && printf x | dd of={model} bs=1 seek=100 conv=notrunc && sync")
    vm.ssh("systemctl restart edgepose; true", check=False)
    assert "status=7" in vm.ssh("systemctl status edgepose --no-pager; true", check=False)
    assert "are refused" in vm.ssh("journalctl -u edgepose --no-pager | tail -30")
    vm.ssh(
        f"cp -p /root/kept {model} && systemctl reset-failed edgepose; systemctl restart --no-block edgepose"
    )
    wait_for_service(vm)


def test_packets_from_outside_show_nothing_but_ssh_and_a_planted_leak_is_seen(vm: RunningMachine) -> None:
    wait_for_service(vm)
    time.sleep(5)
    assert others_than_ssh(vm.packets) == 0
    leak = (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'pixels', ('10.0.2.2', 9))"
    )
    assert not succeeds_as_unit(vm, ("PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"), leak)
    assert others_than_ssh(vm.packets) == 0
    assert succeeds_as_unit(vm, ("PrivateNetwork=yes", "RestrictAddressFamilies=AF_UNIX"), "pass")
    # The negative control: the same without the unit's directives gets out and is seen.
    vm.ssh(f'python3 -c "{leak}"')
    until(lambda: others_than_ssh(vm.packets) > 0, "the packet in QEMU's file")


def succeeds_as_unit(vm: RunningMachine, directives: tuple[str, ...], code: str) -> bool:
    """Whether Python code ends well in a unit with these directives."""
    unit = ["[Service]", "Type=oneshot", *directives, f'ExecStart=/usr/bin/python3 -c "{code}"']
    text = "\n".join(unit)
    done = vm.ssh(
        f"cat > /run/systemd/system/probe.service <<'END'\n{text}\nEND\n"
        "systemctl daemon-reload && systemctl start probe; echo $?",
        check=False,
    )
    return done.splitlines()[-1] == "0"


def others_than_ssh(pcap: Path) -> int:
    """IPv4 packets of the guest that are not of its ssh server; ARP and IPv6's own chatter carry no data."""
    return len(strangers(pcap))


def strangers(pcap: Path) -> list[tuple[int, str, int]]:
    """Protocol, address and port that these packets go to."""
    content, position, found = pcap.read_bytes(), 24, []
    while position + 16 <= len(content):
        (size,) = struct.unpack_from("<I", content, position + 8)
        packet = content[position + 16 : position + 16 + size]
        position += 16 + size
        if packet[12:14] != b"\x08\x00" or packet[26:30] != bytes((10, 0, 2, 15)):
            continue
        source, target = struct.unpack_from(">HH", packet, 14 + (packet[14] & 15) * 4)
        if packet[23] != TCP or source != 22:
            found.append((packet[23], ".".join(map(str, packet[30:34])), target))
    return found


def test_a_hung_service_is_restarted_by_the_watchdog(vm: RunningMachine) -> None:
    before = wait_for_service(vm)
    vm.ssh(f"kill -STOP {before['MainPID']}")
    after = wait_for_service(vm, restarts=int(before["NRestarts"]) + 1, other_than=before["MainPID"])
    assert after["MainPID"] != before["MainPID"]
    assert "watchdog" in vm.ssh("journalctl -u edgepose --no-pager").lower()


def test_a_bad_bundle_is_rolled_back_and_the_service_goes_on(
    vm: RunningMachine, profile: DeviceProfile, tmp_path: Path
) -> None:
    wait_for_service(vm)
    with pytest.raises(DeployError, match="failed its health check and was taken back"):
        install(vm, bundle_of(impatient(profile), tmp_path, 5), profile)
    assert json.loads(vm.ssh(f"{PROGRAM} status --root {ROOT} --json -"))["bundle_version"] == 1
    wait_for_service(vm)


@pytest.mark.skipif(not has_rtsp_server(), reason=MISSING)
def test_a_network_camera_is_read_by_a_unit_that_reaches_that_camera_alone(vm: RunningMachine) -> None:
    """The camera is a real RTSP server on the host, which the guest sees as 10.0.2.2."""
    before = wait_for_service(vm)
    camera, met = RtspCamera(), len(strangers(vm.packets))
    camera.plug()
    try:
        url = camera.url.replace("127.0.0.1", "10.0.2.2")
        vm.ssh(f"{PROGRAM} units install {url} --root {ROOT}")
        # Active means a first pose, now from the network.
        after = wait_for_service(vm, other_than=before["MainPID"])
        assert "shared:///run/edgepose-camera" in vm.ssh(f"tr '\\0' ' ' < /proc/{after['MainPID']}/cmdline")
        reader = vm.ssh("systemctl show edgepose-camera -p MainPID --value").strip()
        assert url not in vm.ssh("ps -eo args")
        assert "litert" not in vm.ssh(f"cat /proc/{reader}/maps")
        time.sleep(5)
        port = int(camera.url.split(":")[2].split("/")[0])
        assert set(strangers(vm.packets)[met:]) == {(TCP, "10.0.2.2", port)}
        # By the same directives another address is out of reach, and without them it is not.
        probe = f"import socket; socket.create_connection(('10.0.2.2', {port}), 5)"
        assert succeeds_as_unit(vm, ("IPAddressDeny=any", "IPAddressAllow=10.0.2.2"), probe)
        assert not succeeds_as_unit(vm, ("IPAddressDeny=any", "IPAddressAllow=10.0.2.3"), probe)
        # Outside of its unit the camera's process refuses to go on.
        alone = vm.ssh(f"{PROGRAM} camera {url} --share /run/alone 2>&1; echo $?", check=False)
        assert alone.endswith("9\n"), alone
    finally:
        camera.unplug()


def test_power_cuts_at_any_moment_leave_a_whole_version(
    machine: Machine, deployed: Path, profile: DeviceProfile, tmp_path: Path
) -> None:
    draw, found = random.Random(1), list[str]()  # noqa: S311 - moments, no secrets

    def enough() -> bool:
        # Old and new ones were met, so the cuts did not all miss the switch.
        return len(found) >= CUTS and len({text for text in found if text.startswith("whole")}) > 1

    with running(machine, tmp_path / "vm", deployed) as vm:
        for version in range(2, 32):
            installing = threading.Thread(
                target=install, args=(vm, bundle_of(profile, tmp_path, version), profile)
            )
            installing.start()
            while installing.is_alive() and not enough():
                time.sleep(draw.uniform(0.2, 3.0))
                found.append(state_after_cut(vm, tmp_path))
            installing.join()
            if enough():
                break
        newest = version
    problems = [text for text in found if not text.startswith("whole")]
    assert not problems, problems
    versions = {int(text.split()[1]) for text in found}
    assert len(found) >= CUTS
    assert min(versions) < max(versions) <= newest


def state_after_cut(vm: RunningMachine, folder: Path) -> str:
    """What a device with this disk would find after the power came back."""
    image, root = folder / "cut.img", folder / "cut"
    vm.snapshot(image)
    subprocess.run(["e2fsck", "-fp", image], capture_output=True, check=False)
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump {ROOT} {root}", image], capture_output=True, check=True)
    status = read_status(root / "root")
    if status.files_intact is not True:
        return f"damaged {status}"
    return f"whole {status.bundle_version}"


def test_a_naive_installer_is_caught_by_the_same_cuts(machine: Machine, tmp_path: Path) -> None:
    """The negative control: cuts that harm nobody would prove nothing."""
    import hashlib

    draw, harmed = random.Random(2), 0  # noqa: S311 - moments, no secrets
    with running(machine, tmp_path / "vm") as vm:
        vm.ssh(f"cat > /root/naive.py <<'EOF'\n{NAIVE}\nEOF\nnohup python3 /root/naive.py > /dev/null 2>&1 &")
        time.sleep(35)
        for _ in range(10):
            time.sleep(draw.uniform(0.5, 3.0))
            image = tmp_path / "cut.img"
            vm.snapshot(image)
            subprocess.run(["e2fsck", "-fp", image], capture_output=True, check=False)
            for name in ("naive.model", "naive.sha256"):
                (tmp_path / name).unlink(missing_ok=True)
                subprocess.run(
                    ["debugfs", "-R", f"dump /root/{name} {tmp_path / name}", image],
                    capture_output=True, check=True,
                )  # fmt: skip
            model, digest = tmp_path / "naive.model", tmp_path / "naive.sha256"
            whole = model.exists() and digest.exists()
            same = whole and hashlib.sha256(model.read_bytes()).hexdigest() == digest.read_text()
            harmed += not same
            if harmed:
                return
    pytest.fail("ten cuts did not harm a naive installer")
