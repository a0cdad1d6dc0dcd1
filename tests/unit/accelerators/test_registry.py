"""A made-up accelerator of two files is seen everywhere; what is unknown fails where it is parsed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from edgepose import accelerators as registry
from edgepose.accelerators import Detection, accelerator, accelerators, detected
from edgepose.cli.deploy import describe_probe
from edgepose.device.sandbox.descriptors import kinds_of
from edgepose.device.units.service_unit import plan_units
from edgepose.errors import ConfigError
from edgepose.host import doctor
from edgepose.host.deploy.ssh.device_store import probe_words
from edgepose.host.quantize import delegates
from edgepose.host.quantize.delegates.check import check_delegate, compiled_member, describe_delegate
from edgepose.records.device_profile import DeviceProfile, read_profile
from edgepose.records.device_status import DeviceProbe
from edgepose.records.record import decode_json
from edgepose.runtime.backend import run_once
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from edgepose.sandbox.python_child import run_words
from tests.support.tiny_models import write_onnx

# What somebody would add for an accelerator with a runtime and a compiler of its own: this file,
NPU = """
from edgepose.accelerators import Accelerator, Detection, DeviceKind, ioctl_letters

ACCELERATORS = (
    Accelerator(
        "npu",
        "Example NPU",
        ("onnxruntime",),
        backend="npu_backend:open_npu",
        detections=(Detection("npu", "Example NPU", files=("/dev/null",)),),
        devices=(DeviceKind("npu", ("/dev/npu*",), ioctl_letters("N"), ("char-npu rw",)),),
        groups=("npu",),
        compiler="npu_compiler",
        compiled_file="model.npu",
        health_timeout_s=300.0,
    ),
)
"""
# its backend,
BACKEND = """
import numpy as np
from edgepose.runtime.backend import BackendInfo, TensorInfo


class NpuBackend:
    def __init__(self, path, options):
        self.info = BackendInfo("npu", "1.0", "npu", 1, 0, options.threads)
        self.input = TensorInfo("image", (1, 2), np.dtype(np.float32))
        self.outputs = (TensorInfo("twice", (1, 2), np.dtype(np.float32)),)
        self._buffer = np.zeros((1, 2), np.float32)

    def load_input(self, write):
        write(self._buffer)

    def invoke(self):
        self._result = 2 * self._buffer

    def read_outputs(self):
        return (self._result,)


open_npu = NpuBackend
"""
# and what the host does for it.
HOST_SIDE = """
from edgepose.host.quantize.delegates.check import CheckedModel
from edgepose.records.accelerator import DelegateReport


def check_model(profile, model):
    report = DelegateReport(
        delegate="npu", status="compiled", compiler_version="1", ops_total=3, ops_on_cpu=1, ops_on_delegate=2,
        predicted_ops_on_cpu=1,
    )
    return CheckedModel(report, b"compiled")
"""


@pytest.fixture(name="profile")
def _profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceProfile]:
    """The profile of a device with the accelerator, whose three files lie in a folder of the test."""
    for folder, name, text in (
        ("accelerators", "npu.py", NPU), ("host", "npu.py", HOST_SIDE), ("", "npu_backend.py", BACKEND),
    ):  # fmt: skip
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(text)
    monkeypatch.setattr(registry, "__path__", [*registry.__path__, str(tmp_path / "accelerators")])
    monkeypatch.setattr(delegates, "__path__", [*delegates.__path__, str(tmp_path / "host")])
    monkeypatch.syspath_prepend(tmp_path)
    accelerators.cache_clear()
    path = tmp_path / "board.toml"
    text = Path("device_profiles/jetson-orin-nano.toml").read_text(encoding="utf-8")
    lines = (f'id = "{path.stem}"' if line.startswith("id =") else line for line in text.splitlines())
    path.write_text("\n".join(lines).replace('delegate = "tensorrt"', 'delegate = "npu"'))
    yield read_profile(path)
    for name in ("edgepose.accelerators.npu", "edgepose.host.quantize.delegates.npu", "npu_backend"):
        sys.modules.pop(name, None)
    accelerators.cache_clear()


def test_the_probe_sees_it(profile: DeviceProfile) -> None:
    assert profile.runtime.delegate == "npu"
    done = run_words([sys.executable, "-I", "-c", *probe_words()])
    assert done.returncode == 0, done.stderr
    probe = decode_json(done.stdout.encode(), DeviceProbe, "probe")
    assert "npu" in probe.accelerators
    assert "accelerators: npu" in describe_probe("board", probe)


def test_the_doctor_the_unit_and_the_lock_see_it(profile: DeviceProfile) -> None:
    found = {check.name: check.state for check in doctor._accelerators()}
    assert (found["Example NPU"], found["npu_compiler"]) == ("ok", "absent")
    plan = plan_units("v4l2:///dev/video0", Path("/srv/root"), "edgepose", Path("/usr/bin/true"), profile)
    lines = plan.units[0][1].splitlines()
    assert "DeviceAllow=char-npu rw" in lines
    (groups,) = (line for line in lines if line.startswith("SupplementaryGroups="))
    assert "npu" in groups.partition("=")[2].split()
    assert [kind.name for kind in kinds_of("/dev/npu0", standard=False)] == ["npu"]


def test_its_own_backend_runs_it(profile: DeviceProfile, tmp_path: Path) -> None:
    compiled = tmp_path / "model.npu"
    compiled.write_bytes(b"compiled")
    backend = open_backend(compiled, RuntimeOptions.for_device(profile.runtime))
    assert backend.info.delegate_used == "npu"
    (twice,) = run_once(backend, np.array([[1.0, 2.0]], np.float32))
    assert twice.tolist() == [[2.0, 4.0]]


def test_the_host_checks_and_compiles_for_it(profile: DeviceProfile, tmp_path: Path) -> None:
    model = write_onnx(tmp_path / "model")
    report = check_delegate(profile, model)
    assert report is not None
    said = describe_delegate(report)
    assert said.startswith("Example NPU: compiled by npu_compiler 1, 1 of 3 ops on the CPU")
    record, members = compiled_member(profile, model)
    assert record is not None
    assert (record.name, record.file, members) == ("npu", "model.npu", {"model.npu": b"compiled"})


def test_an_unknown_accelerator_fails_at_parse_with_the_known_names(tmp_path: Path) -> None:
    text = Path("device_profiles/raspberrypi5.toml").read_text(encoding="utf-8")
    path = tmp_path / "raspberrypi5.toml"
    path.write_text(text.replace('delegate = "xnnpack"', 'delegate = "npu"'))
    with pytest.raises(
        ConfigError, match=r"'npu' is no known accelerator, .* cpu, cuda, edgetpu, gpu, tensorrt"
    ):
        read_profile(path)


def test_every_shipped_accelerator_says_what_a_device_needs() -> None:
    for entry in accelerators().values():
        assert bool(entry.detections) == bool(entry.devices), entry.name
        assert bool(entry.compiler) == bool(entry.compiled_file), entry.name
        assert "litert" not in entry.runtimes or entry.built_in or not entry.provider, entry.name
        assert all(kind.allow for kind in entry.devices), entry.name


@pytest.mark.parametrize(
    ("file", "vendor", "product", "name"),
    [
        ("usb/devices/1-1/idVendor", "18d1", "9302", "edgetpu_usb"),
        ("pci/devices/0/vendor", "0x1ac1", "0x089a", "edgetpu_pci"),
    ],
)
def test_ids_are_read_where_the_kernel_shows_them(
    tmp_path: Path, file: str, vendor: str, product: str, name: str
) -> None:
    path = tmp_path / "sys/bus" / file
    path.parent.mkdir(parents=True)
    path.write_text(f"{vendor}\n")
    path.with_name("idProduct" if "usb" in file else "device").write_text(f"{product}\n")
    (sign,) = (sign for sign in accelerator("edgetpu").detections if sign.name == name)
    assert detected(sign, tmp_path)
    path.write_text("1d6b\n")
    assert not detected(sign, tmp_path)


def test_a_device_file_is_a_sign_and_the_probe_is_told_all_of_them(tmp_path: Path) -> None:
    sign = Detection("x", "X", files=("/dev/x*",))
    assert not detected(sign, tmp_path)
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/x0").touch()
    assert detected(sign, tmp_path)
    told = json.loads(probe_words()[1])
    assert [entry["name"] for entry in told] == [entry.name for entry in registry.detections()]
    assert told[0] == {
        key: list(v) if isinstance(v, tuple) else v for key, v in asdict(registry.detections()[0]).items()
    }
