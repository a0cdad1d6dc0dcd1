"""Runs Google's ``edgetpu_compiler`` where it is on PATH, and checks its log against the file it wrote.

The compiler is closed, for x86-64 Linux only, and in no package registry; a user may have it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.errors import ModelError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.quantize.delegates.edgetpu_log import CompilerLog, parse_log
from edgepose.host.quantize.delegates.edgetpu_rules import EDGETPU_OP
from edgepose.host.quantize.tflite_graph import op_name, read_tflite, tensor_name
from edgepose.sandbox.python_child import find_program

COMPILER = "edgetpu_compiler"
# The compiler's own limit, and ours for a compiler that does not keep it.
_COMPILER_TIMEOUT_S = 180
COMPILE_TIMEOUT_S = 240.0
_SHOWN_LINES = 3
# A line an op, of models with some thousand ops.
_LOG_BYTES = 16 * MIB


@dataclass(frozen=True)
class CompiledModel:
    """A model that the compiler wrote.

    Attributes:
        content: The compiled TFLite file.
        log: What the compiler says it did.
    """

    content: bytes
    log: CompilerLog


def compiler_path() -> str | None:
    """Where the compiler is, or None."""
    return find_program(COMPILER)


def compile_for_edgetpu(
    model: Path, compiler: str | None = None, timeout_s: float = COMPILE_TIMEOUT_S
) -> CompiledModel | None:
    """Compiles a copy of a model in a folder of its own; the model's folder is not touched.

    Args:
        model: An integer-only TFLite file.
        compiler: The compiler's path; None looks on PATH.
        timeout_s: The compiler is ended after this long.

    Returns:
        The compiled model, or None where there is no compiler.

    Raises:
        ModelError: The compiler fails or does not end, its log is not understood, or log and file disagree.
    """
    program = compiler or compiler_path()
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
        command,
        f"{COMPILER}, given {name},",
        limits,
        cwd=folder,
        changes={"LC_ALL": "C"},
        error=ModelError,
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
    left = sum(kind != EDGETPU_OP for kind in kinds)
    if left != compiled.log.ops_on_cpu:
        raise ModelError(
            f"The log of {COMPILER} leaves {compiled.log.ops_on_cpu} ops of {name} to the CPU; "
            f"its file has {left}."
        )
    if compiled.log.ops_on_delegate and left == len(kinds):
        raise ModelError(f"{COMPILER} says it mapped ops of {name}; its file has no {EDGETPU_OP}.")
    if _interface(before) != _interface(after):
        raise ModelError(f"{COMPILER} changed the inputs or outputs of {name}.")


def _interface(graph: Any) -> list[tuple[str, tuple[int, ...], int]]:
    subgraph = graph.subgraphs[0]
    tensors = [subgraph.tensors[index] for index in (*subgraph.inputs, *subgraph.outputs)]
    return [(tensor_name(tensor), tuple(map(int, tensor.shape)), int(tensor.type)) for tensor in tensors]
