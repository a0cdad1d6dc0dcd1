"""Checks and compiles a finished model for the accelerator of its profile.

What is special to one accelerator lies in the module of its name here, which has ``check_model``. An
accelerator without such a module takes a model as it is, and nothing is known of it before a device tries.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from edgepose.accelerators import Accelerator, accelerator, accelerators
from edgepose.records.accelerator import AcceleratorCompilation, DelegateReport, RefusedOp
from edgepose.records.device_profile import DeviceProfile

_NAMED_OPS = 8


@dataclass(frozen=True)
class CheckedModel:
    """What an accelerator takes of a model, and the file that the vendor's compiler made, if there is one."""

    report: DelegateReport
    content: bytes | None = None


# Checks a finished file in the profile's format, and compiles it where the compiler is here.
CheckModel = Callable[[DeviceProfile, Path], CheckedModel]


def check_delegate(profile: DeviceProfile, model: Path) -> DelegateReport | None:
    """Says what the profile's accelerator takes of a finished file in the profile's format.

    Returns:
        The report; None where the profile has no accelerator with rules of its own.

    Raises:
        ModelError: The vendor's compiler is here and fails on the model, or its log is not understood.
    """
    runtime, system = profile.runtime, profile.hardware.os
    offered = [a for a in accelerators().values() if a.os == system and runtime.name in a.runtimes]
    for entry in (accelerator(runtime.delegate), *offered):
        check_model = _host_side(entry)
        if check_model is not None:
            return check_model(profile, model).report
    return None


def compiled_member(
    profile: DeviceProfile, model: Path
) -> tuple[AcceleratorCompilation | None, dict[str, bytes]]:
    """Compiles a model where the profile's accelerator runs nothing else and its compiler is on PATH.

    The model itself, for the CPU, stays in the bundle for previews.

    Returns:
        What the manifest says, and the further file of the bundle: path to content, empty without one.

    Raises:
        ModelError: The compiler fails on the model, or its log is not understood.
    """
    entry = accelerator(profile.runtime.delegate)
    check_model = _host_side(entry)
    if not entry.compiler or check_model is None:
        return None, {}
    checked = check_model(profile, model)
    report, content = checked.report, checked.content
    record = AcceleratorCompilation(
        name=entry.name,
        status="compiled" if content is not None else "not compiled",
        file=entry.compiled_file if content is not None else None,
        compiler_version=report.compiler_version,
        ops_total=report.ops_total,
        ops_on_cpu=report.ops_on_cpu,
        predicted_ops_on_cpu=report.predicted_ops_on_cpu,
        refused=tuple(_in_words(refused) for refused in report.refused[:_NAMED_OPS]),
    )
    return record, {entry.compiled_file: content} if content is not None else {}


def _host_side(known: Accelerator) -> CheckModel | None:
    module = f"{__package__}.{known.name}"
    if importlib.util.find_spec(module) is None:
        return None
    return cast("CheckModel", importlib.import_module(module).check_model)


def _in_words(entry: RefusedOp) -> str:
    if entry.tensor:
        return f"{entry.op} '{entry.tensor}' ({entry.reason})"
    return f"{entry.count} {entry.op} ({entry.reason})"


def describe_delegate(report: DelegateReport, shown: int = 8) -> str:
    """The report as people read it: a line of figures, then the refused ops."""
    known = accelerator(report.delegate)
    if report.ops_on_cpu is not None:
        left = f"{report.ops_on_cpu} of {report.ops_total} ops on the CPU"
        head = f"{known.title}: compiled by {known.compiler} {report.compiler_version}, {left}"
    else:
        predicted = f"{report.predicted_ops_on_cpu} of {report.ops_total} ops on the CPU"
        head = f"{known.title}: {report.status}; its published rules predict {predicted}"
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
