"""What is installed here, what can work here, and the command that brings what is missing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import sys
from pathlib import Path
from typing import Literal

from edgepose.accelerators import accelerators, detected, detections
from edgepose.errors import MissingDependencyError
from edgepose.host.tools.installation import tool_python
from edgepose.records.device_profile import DeviceProfile, load_profiles
from edgepose.records.record import Record
from edgepose.runtime import machine

State = Literal["ok", "missing", "absent"]

_HOST_PYTHON = (3, 11)
_HOST_EXTRA = "pip install 'edgepose[convert]'"
# Distribution, module, what it is for, and the command that brings it.
_PACKAGES = (
    ("numpy", "numpy", "everything", "pip install edgepose"),
    ("opencv-python-headless", "cv2", "pictures and video", "pip install edgepose"),
    ("ai-edge-litert", "ai_edge_litert", "running TFLite models", "pip install ai-edge-litert"),
    (
        "onnxruntime",
        "onnxruntime",
        "running and quantizing ONNX models",
        "pip install 'edgepose[onnxruntime]'",
    ),
    ("onnx", "onnx", "inspecting and converting ONNX models", _HOST_EXTRA),
    ("tensorflow", "tensorflow", "Keras and SavedModel sources", _HOST_EXTRA),
    ("ai-edge-quantizer", "ai_edge_quantizer", "quantizing TFLite models", _HOST_EXTRA),
)


class Check(Record, frozen=True, kw_only=True):
    """One finding.

    Attributes:
        name: What was looked for.
        state: ``ok``, ``missing`` (needed for something, can be brought) or ``absent`` (hardware or a
            vendor's tool that this machine does not have, which is no fault).
        detail: What was found.
        remedy: The command that brings it; empty where there is nothing to do.
    """

    name: str
    state: State
    detail: str
    remedy: str = ""


class ProfileReadiness(Record, frozen=True, kw_only=True):
    """What this machine can do for a profile.

    Attributes:
        profile: Profile id.
        build: Whether models can be converted and quantized for it here.
        run: ``device`` (this is one), ``preview`` (its model runs on this CPU) or ``no``.
        missing: Names of the missing checks that stand in the way.
    """

    profile: str
    build: bool
    run: Literal["device", "preview", "no"]
    missing: tuple[str, ...]


class DoctorReport(Record, frozen=True, kw_only=True):
    """``edgepose.doctor/1``."""

    schema: str
    checks: tuple[Check, ...]
    profiles: tuple[ProfileReadiness, ...]


def examine() -> DoctorReport:
    """Looks at this machine; changes nothing.

    Raises:
        ConfigError: A packaged profile is wrong.
    """
    checks = (
        _python(),
        *(_package(*package) for package in _PACKAGES),
        _onnx2tf(),
        *_accelerators(),
        _cameras(),
    )
    missing = {check.name for check in checks if check.state == "missing"}
    readiness = tuple(_readiness(profile, missing) for profile in load_profiles())
    return DoctorReport(schema="edgepose.doctor/1", checks=checks, profiles=readiness)


def _python() -> Check:
    detail = f"{platform.python_version()} on {machine.architecture()}"
    if sys.version_info[:2] < _HOST_PYTHON:
        return Check(name="Python", state="missing", detail=f"{detail}; the host side needs 3.11 or later")
    return Check(name="Python", state="ok", detail=detail)


def _package(distribution: str, module: str, purpose: str, remedy: str) -> Check:
    if importlib.util.find_spec(module) is None:
        return Check(name=distribution, state="missing", detail=f"needed for {purpose}", remedy=remedy)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        # Another distribution (a vendor's build, a system package) provides the module.
        version = "present"
    return Check(name=distribution, state="ok", detail=version)


def _onnx2tf() -> Check:
    try:
        return Check(name="onnx2tf", state="ok", detail=str(tool_python("onnx2tf").parent.parent))
    except MissingDependencyError as problem:
        return Check(
            name="onnx2tf",
            state="missing",
            detail=f"needed to convert ONNX to TFLite. {problem.message}",
            remedy="edgepose tools install onnx2tf",
        )


def _accelerators() -> list[Check]:
    signs = detections()
    titles = dict.fromkeys((sign.title for sign in signs), False)
    titles |= dict.fromkeys((sign.title for sign in signs if detected(sign)), True)
    programs = [*(entry.compiler for entry in accelerators().values() if entry.compiler), "adb"]
    return [
        *(_found(title, found, "present", "none on this machine") for title, found in titles.items()),
        *(_found(name, bool(where := shutil.which(name)), str(where), "not on PATH") for name in programs),
    ]


def _found(name: str, present: bool, detail: str, otherwise: str) -> Check:  # noqa: FBT001
    return Check(name=name, state="ok" if present else "absent", detail=detail if present else otherwise)


def _cameras() -> Check:
    devices = sorted(str(path) for path in Path("/dev").glob("video*"))
    return _found("camera", bool(devices), ", ".join(devices), "no /dev/video* here")


def _readiness(profile: DeviceProfile, missing: set[str]) -> ProfileReadiness:
    if profile.runtime.name == "litert":
        run_needs = {"ai-edge-litert"}
        build_needs = run_needs | {"onnx", "onnx2tf", "ai-edge-quantizer", "Python"}
    else:
        run_needs = {"onnxruntime"}
        build_needs = run_needs | {"onnx", "Python"}
    is_device = machine.this_is_the_device(profile.hardware)
    run: Literal["device", "preview", "no"] = "no"
    if not run_needs & missing:
        run = "device" if is_device else "preview"
    return ProfileReadiness(
        profile=profile.id,
        build=not build_needs & missing,
        run=run,
        missing=tuple(sorted(build_needs & missing)),
    )
