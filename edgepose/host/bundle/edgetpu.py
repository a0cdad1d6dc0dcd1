"""The part of a bundle that is for an Edge TPU: the compiled model, or the mark that it is not compiled."""

from __future__ import annotations

from pathlib import Path

from edgepose.host.quantize.delegates.check import edgetpu_report
from edgepose.host.quantize.delegates.edgetpu_compiler import compile_for_edgetpu
from edgepose.spec.delegate_report import RefusedOp
from edgepose.spec.device_profile import DeviceProfile
from edgepose.spec.edgetpu_compilation import EdgeTpuCompilation

COMPILED_FILE = "model_edgetpu.tflite"
_NAMED_OPS = 8


def compiled_member(
    profile: DeviceProfile, model: Path
) -> tuple[EdgeTpuCompilation | None, dict[str, bytes]]:
    """Compiles a model where the profile has an Edge TPU and edgetpu_compiler is on PATH.

    Args:
        profile: The device.
        model: The integer-only CPU file, which stays in the bundle for previews.

    Returns:
        What the manifest says, and the further file of the bundle: path to content, empty without one.

    Raises:
        ModelError: edgetpu_compiler fails on the model, or its log is not understood.
    """
    if profile.runtime.delegate != "edgetpu":
        return None, {}
    compiled = compile_for_edgetpu(model)
    report = edgetpu_report(profile, model, compiled)
    record = EdgeTpuCompilation(
        status="compiled" if compiled else "not compiled",
        file=COMPILED_FILE if compiled else None,
        compiler_version=report.compiler_version,
        ops_total=report.ops_total,
        ops_on_cpu=report.ops_on_cpu,
        predicted_ops_on_cpu=report.predicted_ops_on_cpu,
        refused=tuple(_in_words(entry) for entry in report.refused[:_NAMED_OPS]),
    )
    return record, {COMPILED_FILE: compiled.content} if compiled else {}


def _in_words(entry: RefusedOp) -> str:
    if entry.tensor:
        return f"{entry.op} '{entry.tensor}' ({entry.reason})"
    return f"{entry.count} {entry.op} ({entry.reason})"
