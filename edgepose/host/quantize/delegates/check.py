"""Checks a finished model for the delegate of its profile."""

from __future__ import annotations

from pathlib import Path

from edgepose.host.models.tflite_view import read_tflite
from edgepose.host.quantize.delegates.edgetpu_compiler import (
    MAPPED,
    CompiledModel,
    CompilerLog,
    compile_for_edgetpu,
    edgetpu_verdicts,
)
from edgepose.host.quantize.delegates.gpu_rules import gpu_verdicts
from edgepose.host.quantize.delegates.op_view import GraphView, count_on_cpu, refused_ops, view_graph
from edgepose.records.accelerator import DelegateReport, RefusedOp
from edgepose.records.device_profile import DeviceProfile


def check_delegate(profile: DeviceProfile, model: Path) -> DelegateReport | None:
    """Says what the profile's accelerator takes of a model.

    Args:
        profile: The device.
        model: The finished file, in the profile's format.

    Returns:
        The report; None where the profile has no delegate with rules of its own.

    Raises:
        ModelError: ``edgetpu_compiler`` is here and fails on the model, or its log is not understood.
    """
    if profile.runtime.delegate == "edgetpu":
        return edgetpu_report(profile, model, compile_for_edgetpu(model))
    if profile.runtime.name == "litert" and (
        profile.hardware.os == "android" or profile.runtime.delegate == "gpu"
    ):
        return _gpu_report(profile, model)
    return None


def edgetpu_report(profile: DeviceProfile, model: Path, compiled: CompiledModel | None) -> DelegateReport:
    """The report of a model for the Edge TPU, by its rules and, where it was compiled, by the compiler.

    Args:
        profile: The device.
        model: The integer-only CPU file.
        compiled: What the compiler made of it, or None where there is no compiler.
    """
    verdicts = edgetpu_verdicts(_graph(model))
    log = compiled.log if compiled else None
    return DelegateReport(
        delegate="edgetpu",
        status="compiled" if log else "not compiled",
        compiler_version=log.version if log else None,
        ops_total=len(verdicts),
        ops_on_delegate=log.ops_on_delegate if log else None,
        ops_on_cpu=log.ops_on_cpu if log else None,
        predicted_ops_on_cpu=count_on_cpu(verdicts),
        behind_refused=sum(verdict.behind_refused for verdict in verdicts),
        refused=_left_by_compiler(log) if log else refused_ops(verdicts),
        max_ops_on_cpu=profile.runtime.max_ops_on_cpu,
        model_bytes=model.stat().st_size,
        compiled_bytes=len(compiled.content) if compiled else None,
        on_chip_bytes=log.on_chip_bytes if log else None,
        off_chip_bytes=log.off_chip_bytes if log else None,
    )


def describe_delegate(report: DelegateReport, shown: int = 8) -> str:
    """The report as people read it: a line of figures, then the refused ops."""
    name = {"edgetpu": "Edge TPU", "gpu": "GPU delegate"}[report.delegate]
    if report.ops_on_cpu is not None:
        known = f"{report.ops_on_cpu} of {report.ops_total} ops on the CPU"
        head = f"{name}: compiled by edgetpu_compiler {report.compiler_version}, {known}"
    else:
        predicted = f"{report.predicted_ops_on_cpu} of {report.ops_total} ops on the CPU"
        head = f"{name}: {report.status}; its published rules predict {predicted}"
    if report.max_ops_on_cpu is not None:
        head += f" (the profile allows {report.max_ops_on_cpu})"
    lines = [head]
    lines += [f"  {_refused(entry)}" for entry in report.refused[:shown]]
    if len(report.refused) > shown:
        lines.append(f"  and {len(report.refused) - shown} more")
    if report.behind_refused and report.ops_on_cpu is None:
        lines.append(f"  {report.behind_refused} more ops lie behind these and go to the CPU with them")
    return "\n".join(lines)


def _refused(entry: RefusedOp) -> str:
    return (
        f"{entry.op} '{entry.tensor}': {entry.reason}"
        if entry.tensor
        else f"{entry.count} {entry.op}: {entry.reason}"
    )


def _left_by_compiler(log: CompilerLog) -> tuple[RefusedOp, ...]:
    left = (row for row in log.rows if row.status != MAPPED)
    return tuple(RefusedOp(op=row.op, tensor="", reason=row.status, count=row.count) for row in left)


def _gpu_report(profile: DeviceProfile, model: Path) -> DelegateReport:
    verdicts = gpu_verdicts(_graph(model))
    return DelegateReport(
        delegate="gpu",
        status="rules checked",
        ops_total=len(verdicts),
        predicted_ops_on_cpu=count_on_cpu(verdicts),
        refused=refused_ops(verdicts),
        max_ops_on_cpu=profile.runtime.max_ops_on_cpu,
        model_bytes=model.stat().st_size,
    )


def _graph(model: Path) -> GraphView:
    return view_graph(read_tflite(model.read_bytes()))
