"""The Edge TPU on the host: Google's ``edgetpu_compiler``, its log, and a prediction of what it would do.

The compiler is closed, for x86-64 Linux only, and in no package registry; a user may have it. Its log, in the
format of versions 2.0 to 16.0 (a version line, sizes, a table of ops, the two "Number of operations" lines,
which are missing where every op was mapped), is checked against the file that it wrote, and refused where it
is not understood to the last op.

What it would map without being run ("TensorFlow models on the Edge TPU", coral.ai/docs/edgetpu/models-intro,
section "Compiling"): at the first op that is not supported the graph is cut in two, the part before it runs
on the Edge TPU, and everything behind it on the CPU. Measured on MoveNet's compiled file: "behind" goes by
the flow of the data, not by the order in the file, and a conversion of the input (CAST or QUANTIZE of what is
not 8-bit) runs on the CPU without ending the part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.accelerators import accelerator
from edgepose.errors import ModelError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.models.tflite_view import op_name, read_tflite, tensor_name
from edgepose.host.quantize.delegates.check import CheckedModel
from edgepose.host.quantize.delegates.edgetpu_rules import edgetpu_reason
from edgepose.host.quantize.delegates.op_view import (
    GraphView,
    OpVerdict,
    count_on_cpu,
    refused_ops,
    view_graph,
)
from edgepose.records.accelerator import DelegateReport, RefusedOp
from edgepose.records.device_profile import DeviceProfile
from edgepose.sandbox.python_child import find_program

MAPPED = "Mapped to Edge TPU"

_VERSION = re.compile(r"^Edge TPU Compiler version (\d[\w.]*)\s*$", re.MULTILINE)
_SUCCESS = re.compile(r"^Model compiled successfully in \d+ ms[.!]?\s*$", re.MULTILINE)
_TOTAL = re.compile(r"^Total number of operations: (\d+)\s*$", re.MULTILINE)
_ON_DELEGATE = re.compile(r"^Number of operations that will run on Edge TPU: (\d+)\s*$", re.MULTILINE)
_ON_CPU = re.compile(r"^Number of operations that will run on CPU: (\d+)\s*$", re.MULTILINE)
_ON_CHIP = re.compile(r"^On-chip memory used for caching model parameters: (\S+)\s*$", re.MULTILINE)
_OFF_CHIP = re.compile(
    r"^Off-chip memory used for streaming uncached model parameters: (\S+)\s*$", re.MULTILINE
)
_TABLE_HEAD = re.compile(r"^Operator\s+Count\s+Status\s*$", re.MULTILINE)
_TABLE_ROW = re.compile(r"^([A-Za-z0-9_\-]+)\s+(\d+)\s+(\S.*?)\s*$")
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)$")
_UNIT_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class LoggedOps:
    """A row of the compiler's table."""

    op: str
    count: int
    status: str


@dataclass(frozen=True)
class CompilerLog:
    """A whole log.

    Attributes:
        version: The compiler's version.
        ops_total: Ops of the model.
        ops_on_delegate: Ops that run on the Edge TPU.
        rows: The table.
        on_chip_bytes: Parameters in the Edge TPU's own memory.
        off_chip_bytes: Parameters that are streamed for every frame.
    """

    version: str
    ops_total: int
    ops_on_delegate: int
    rows: tuple[LoggedOps, ...]
    on_chip_bytes: int
    off_chip_bytes: int

    @property
    def ops_on_cpu(self) -> int:
        """Ops that the compiler left to the CPU."""
        return self.ops_total - self.ops_on_delegate


def parse_log(text: str) -> CompilerLog:
    """Reads a log.

    Raises:
        ModelError: Something is missing, unknown, or does not add up.
    """
    version = _only(_VERSION, text, "its version line")
    _only(_SUCCESS, text, "the line that says it succeeded")
    total = int(_only(_TOTAL, text, "the total number of operations"))
    rows = _table(text)
    counted = sum(row.count for row in rows)
    if counted != total:
        raise _not_understood(f"its table counts {counted} ops and its total is {total}")
    mapped = sum(row.count for row in rows if row.status == MAPPED)
    for pattern, expected, where in ((_ON_DELEGATE, mapped, "Edge TPU"), (_ON_CPU, total - mapped, "CPU")):
        stated = pattern.findall(text)
        if any(int(number) != expected for number in stated) or (not stated and mapped != total):
            raise _not_understood(f"its table puts {expected} ops on the {where}, its summary says {stated}")
    return CompilerLog(
        version=version,
        ops_total=total,
        ops_on_delegate=mapped,
        rows=rows,
        on_chip_bytes=_bytes(_only(_ON_CHIP, text, "the on-chip memory")),
        off_chip_bytes=_bytes(_only(_OFF_CHIP, text, "the off-chip memory")),
    )


def _table(text: str) -> tuple[LoggedOps, ...]:
    head = _TABLE_HEAD.search(text)
    if head is None:
        raise _not_understood("its table of operators is missing")
    rows: list[LoggedOps] = []
    for line in text[head.end() :].splitlines():
        row = _TABLE_ROW.match(line)
        if row is None:
            if line.strip() and rows:
                break
            if line.strip():
                raise _not_understood(f"its table has the line {line.strip()!r}")
            continue
        rows.append(LoggedOps(row.group(1), int(row.group(2)), row.group(3)))
    return tuple(rows)


def _only(pattern: re.Pattern[str], text: str, what: str) -> str:
    found = pattern.findall(text)
    if len(found) != 1:
        raise _not_understood(f"{what} stands there {len(found)} times, expected once")
    return str(found[0])


def _bytes(text: str) -> int:
    size = _SIZE.match(text)
    if size is None:
        raise _not_understood(f"{text!r} is no size")
    return round(float(size.group(1)) * _UNIT_BYTES[size.group(2)])


def _not_understood(reason: str) -> ModelError:
    return ModelError(
        f"The log of edgetpu_compiler is not understood: {reason}.",
        "Known are versions 2.0 to 16.0; what a log does not say for certain is not claimed.",
    )


_EDGETPU = accelerator("edgetpu")
COMPILER = _EDGETPU.compiler
# The compiler's own limit, and ours for a compiler that does not keep it.
_COMPILER_TIMEOUT_S = 180
COMPILE_TIMEOUT_S = 240.0
_SHOWN_LINES = 3
# A line an op, of models with some thousand ops.
_LOG_BYTES = 16 * MIB


@dataclass(frozen=True)
class CompiledModel:
    """A model that the compiler wrote."""

    content: bytes
    log: CompilerLog


def compile_for_edgetpu(
    model: Path, compiler: str | None = None, timeout_s: float = COMPILE_TIMEOUT_S
) -> CompiledModel | None:
    """Compiles a copy of an integer-only model in a folder of its own, by the compiler on PATH unless given.

    Returns:
        The compiled model, or None where there is no compiler.

    Raises:
        ModelError: The compiler fails or does not end, its log is not understood, or log and file disagree.
    """
    program = compiler or find_program(COMPILER)
    if program is None:
        return None
    source = model.read_bytes()
    with TemporaryDirectory(prefix="edgepose-edgetpu-") as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(source)
        text = _run(program, folder, timeout_s, model.name)
        written = folder / "out" / "model_edgetpu.tflite"
        if not written.is_file():
            raise ModelError(f"{COMPILER} says it compiled {model.name}, and wrote no file.")
        compiled = CompiledModel(written.read_bytes(), parse_log(text))
    _check_file(source, compiled, model.name)
    return compiled


def _run(program: str, folder: Path, timeout_s: float, name: str) -> str:
    (folder / "out").mkdir()
    command = [program, "-s", "-t", str(_COMPILER_TIMEOUT_S), "-o", "out", "model.tflite"]
    limits = AnswerLimits(bytes=_LOG_BYTES, silence_s=timeout_s, total_s=timeout_s)
    call = BoundedCall(
        command, f"{COMPILER}, given {name},", limits, cwd=folder, changes={"LC_ALL": "C"}, error=ModelError
    )
    try:
        done = run_bounded(call)
    except OSError as problem:
        raise ModelError(f"{COMPILER} at {program} cannot be run: {problem.strerror}.") from problem
    text = done.stdout.decode(errors="replace")
    if done.code:
        lines = (text + done.stderr).strip().splitlines()
        said = "; ".join(line.strip() for line in lines[-_SHOWN_LINES:] if line.strip()) or "nothing"
        raise ModelError(
            f"{COMPILER} ended with code {done.code} on {name} and said: {said}.",
            "The file still runs on a CPU; `edgepose quantize --json` lists the ops with their reasons.",
        )
    return text


def _check_file(source: bytes, compiled: CompiledModel, name: str) -> None:
    """The file must show what the log says: as many ops left, and the same inputs and outputs."""
    try:
        before, after = read_tflite(source), read_tflite(compiled.content)
        kinds = [op_name(after, op) for op in after.subgraphs[0].operators]
    except Exception as problem:
        # The flatbuffer classes raise whatever reading past the end happens to give.
        raise ModelError(f"{COMPILER} wrote a damaged file for {name}.") from problem
    left = sum(kind != _EDGETPU.compiled_op for kind in kinds)
    if left != compiled.log.ops_on_cpu:
        raise ModelError(
            f"The log of {COMPILER} leaves {compiled.log.ops_on_cpu} ops of {name} to the CPU; "
            f"its file has {left}."
        )
    if compiled.log.ops_on_delegate and left == len(kinds):
        raise ModelError(f"{COMPILER} says it mapped ops of {name}; its file has no {_EDGETPU.compiled_op}.")
    if _interface(before) != _interface(after):
        raise ModelError(f"{COMPILER} changed the inputs or outputs of {name}.")


def _interface(graph: Any) -> list[tuple[str, tuple[int, ...], int]]:
    subgraph = graph.subgraphs[0]
    tensors = [subgraph.tensors[index] for index in (*subgraph.inputs, *subgraph.outputs)]
    return [(tensor_name(tensor), tuple(map(int, tensor.shape)), int(tensor.type)) for tensor in tensors]


def check_model(profile: DeviceProfile, model: Path) -> CheckedModel:
    """Checks an integer-only model by the published rules and, where it is here, by the compiler.

    Raises:
        ModelError: As ``compile_for_edgetpu`` raises.
    """
    compiled = compile_for_edgetpu(model)
    verdicts = edgetpu_verdicts(view_graph(read_tflite(model.read_bytes())))
    log = compiled.log if compiled else None
    report = DelegateReport(
        delegate=_EDGETPU.name,
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
    return CheckedModel(report, compiled.content if compiled else None)


def _left_by_compiler(log: CompilerLog) -> tuple[RefusedOp, ...]:
    left = (row for row in log.rows if row.status != MAPPED)
    return tuple(RefusedOp(op=row.op, tensor="", reason=row.status, count=row.count) for row in left)


_INPUT_CONVERSIONS = frozenset({"CAST", "QUANTIZE"})


def edgetpu_verdicts(graph: GraphView) -> tuple[OpVerdict, ...]:
    """Judges every op of a graph; pure.

    Returns:
        One verdict an op, in the graph's order. It predicts what the compiler does and claims nothing.
    """
    verdicts: list[OpVerdict] = []
    # Places of the ops that convert the input on the CPU, and of those that end the Edge TPU's part.
    conversions: set[int] = set()
    last: set[int] = set()
    for place, op in enumerate(graph.ops):
        before = {graph.producers[t.index] for t in op.runtime_inputs if t.index in graph.producers}
        reason, behind = edgetpu_reason(op), bool(before & last)
        if reason and op.name in _INPUT_CONVERSIONS and before <= conversions:
            conversions.add(place)
        elif reason or behind:
            last.add(place)
        fine_itself = behind and reason is None
        verdicts.append(OpVerdict(op.name, op.label, reason, behind_refused=fine_itself))
    return tuple(verdicts)
