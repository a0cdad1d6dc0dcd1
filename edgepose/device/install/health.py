"""Starts the health check in a fresh process and takes in its report."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import edgepose
from edgepose.device.install.layout import engine_cache_beside
from edgepose.device.install.slot_files import read_slot_manifest
from edgepose.errors import EdgeposeError, TrustError
from edgepose.spec.device_status import HealthReport
from edgepose.spec.records import from_json

# An emulated arm64 device takes about 15 s to import OpenCV and the runtime, and 2 s a frame.
HEALTH_TIMEOUT_S = 180.0
# TensorRT builds an engine when a model is first loaded on a device, which takes minutes.
ENGINE_BUILD_TIMEOUT_S = 900.0
_MODULE = "edgepose.device.health_process"


def run_health_check(folder: Path, manifest_sha256: str, timeout_s: float | None = None) -> HealthReport:
    """Checks an unpacked bundle in a fresh process.

    A process that crashes, hangs or reports nothing is a failed check.

    Args:
        folder: The unpacked bundle.
        manifest_sha256: Digest of its manifest.
        timeout_s: The process is killed after this long; None takes what the profile's delegate needs.
    """
    command = [sys.executable, "-m", _MODULE]
    command += ["--folder", os.fspath(folder.resolve()), "--manifest-sha256", manifest_sha256]
    command += ["--engine-cache", os.fspath(engine_cache_beside(folder))]
    return report_of(command, timeout_s or _timeout_s(folder, manifest_sha256))


def report_of(command: Sequence[str], timeout_s: float) -> HealthReport:
    """Runs a command that writes a report to ``--report-fd``."""
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as stream:
        try:
            process = subprocess.run(
                [*command, "--report-fd", str(writer)],
                pass_fds=(writer,),
                env=package_environment(),
                # Python puts the working folder first on its path; an `edgepose` there is not ours.
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return _failed(f"the health check did not end within {timeout_s:.0f} s")
        finally:
            os.close(writer)
        # A report is a few kilobytes, and a pipe holds 64: nobody waits for a reader.
        content = stream.read()
    if process.returncode != 0:
        return _failed(_ending(process.returncode, process.stderr))
    try:
        return from_json(content, HealthReport, "The health report")
    except EdgeposeError as problem:
        return _failed(problem.message)


def _timeout_s(folder: Path, manifest_sha256: str) -> float:
    try:
        runtime = read_slot_manifest(folder, manifest_sha256).profile.runtime
    except (TrustError, OSError):
        # The process itself says what is wrong with the manifest.
        return HEALTH_TIMEOUT_S
    return ENGINE_BUILD_TIMEOUT_S if runtime.delegate == "tensorrt" else HEALTH_TIMEOUT_S


def package_environment() -> dict[str, str]:
    """This process's environment, in which the same edgepose is found."""
    package_parent = os.fspath(Path(edgepose.__file__).resolve().parent.parent)
    paths = [package_parent, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _ending(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"the health check was ended by signal {-code} ({signal.strsignal(-code)})"
    lines = stderr.decode(errors="replace").strip().splitlines()
    return f"the health check ended with code {code}: {lines[-1] if lines else 'no message'}"


def _failed(reason: str) -> HealthReport:
    return HealthReport(passed=False, failures=(reason,), verified_on="host", accelerator="not_verified")
