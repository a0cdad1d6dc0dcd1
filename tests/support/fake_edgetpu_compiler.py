"""A stand-in for ``edgetpu_compiler``: a program of that name that prints its log format and writes a file.

It is a fake: it maps the first ops of the file, whatever they are, and nothing it writes runs anywhere. The
log's form is that of version 16.0 as users print it in the compiler's issue tracker.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from edgepose.host.models.tflite_view import op_name, read_tflite

PROJECT = Path(__file__).resolve().parent.parent.parent
VERSION = "16.0.384591198"
BEHAVIOURS = (
    "good",
    "fails",
    "hangs",
    "writes nothing",
    "no version",
    "counts wrong",
    "file disagrees",
    "renames",
)


def install_fake_compiler(folder: Path, *, ops_on_cpu: int = 0, behaviour: str = "good") -> Path:
    """Writes the program; its folder is for PATH.

    Args:
        folder: Where to write it.
        ops_on_cpu: How many ops, from the end of the file, it leaves to the CPU.
        behaviour: One of ``BEHAVIOURS``.
    """
    assert behaviour in BEHAVIOURS
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "edgetpu_compiler"
    program.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path.insert(0, {str(PROJECT)!r})\n"
        "from tests.support.fake_edgetpu_compiler import main\n"
        f"main({ops_on_cpu}, {behaviour!r})\n",
        encoding="utf-8",
    )
    program.chmod(0o755)
    return program


def main(ops_on_cpu: int, behaviour: str) -> None:
    """What the program does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-s", action="store_true")
    parser.add_argument("-t", type=int)
    parser.add_argument("-o", type=Path)
    parser.add_argument("model", type=Path)
    arguments = parser.parse_args()
    if behaviour == "hangs":
        time.sleep(60)
    if behaviour == "fails":
        sys.stdout.write(
            f"Edge TPU Compiler version {VERSION}\n"
            "Compilation failed: Compilation failed due to large activation tensors in model.\n"
            "Compilation child process completed within timeout period.\nCompilation failed! \n"
        )
        raise SystemExit(1)
    graph = read_tflite(arguments.model.read_bytes())
    kinds = [op_name(graph, op) for op in graph.subgraphs[0].operators]
    sys.stdout.write(compiler_log(kinds, ops_on_cpu, behaviour))
    _keep_last(graph, 0 if behaviour == "file disagrees" else ops_on_cpu)
    if behaviour == "renames":
        graph.subgraphs[0].tensors[graph.subgraphs[0].outputs[0]].name = b"other"
    if behaviour != "writes nothing":
        written = flatbuffer_utils.convert_object_to_bytearray(graph)
        (arguments.o / f"{arguments.model.stem}_edgetpu.tflite").write_bytes(bytes(written))


def compiler_log(kinds: list[str], ops_on_cpu: int, behaviour: str = "good") -> str:
    """The log of a compilation in which the last ops stayed on the CPU."""
    mapped = len(kinds) - ops_on_cpu
    lines = [] if behaviour == "no version" else [f"Edge TPU Compiler version {VERSION}"]
    lines += [
        "Started a compilation timeout timer of 180 seconds.", "",
        "Model compiled successfully in 96 ms.", "",
        "Input model: model.tflite", "Input size: 7.02MiB",
        "Output model: out/model_edgetpu.tflite", "Output size: 7.14MiB",
        "On-chip memory used for caching model parameters: 80.00KiB",
        "On-chip memory remaining for caching model parameters: 6.04MiB",
        "Off-chip memory used for streaming uncached model parameters: 0.00B",
        "Number of Edge TPU subgraphs: 1",
        f"Total number of operations: {len(kinds)}",
        "Operation log: out/model_edgetpu.log", "",
    ]  # fmt: skip
    if ops_on_cpu:
        lines += [
            "Model successfully compiled but not all operations are supported by the Edge TPU.",
            f"Number of operations that will run on Edge TPU: {mapped + (behaviour == 'counts wrong')}",
            f"Number of operations that will run on CPU: {ops_on_cpu}", "",
        ]  # fmt: skip
    rows = [*((kind, "Mapped to Edge TPU") for kind in kinds[:mapped])]
    rows += [(kind, "More than one subgraph is not supported") for kind in kinds[mapped:]]
    lines += ["Operator                       Count      Status", ""]
    lines += [f"{kind:<31}{count:<11}{status}" for (kind, status), count in Counter(rows).items()]
    return "\n".join(
        [*lines, "Compilation child process completed within timeout period.", "Compilation succeeded! "]
    )


def _keep_last(graph: Any, ops_on_cpu: int) -> None:
    """Puts one custom op in the place of all ops but the last."""
    subgraph = graph.subgraphs[0]
    cut = len(subgraph.operators) - ops_on_cpu
    taken, kept = subgraph.operators[:cut], subgraph.operators[cut:]
    needed = {index for op in kept for index in op.inputs} | set(subgraph.outputs)
    code = schema.OperatorCodeT()
    code.builtinCode, code.customCode, code.version = schema.BuiltinOperator.CUSTOM, b"edgetpu-custom-op", 1
    code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    graph.operatorCodes.append(code)
    custom = schema.OperatorT()
    custom.opcodeIndex = len(graph.operatorCodes) - 1
    custom.inputs = list(subgraph.inputs)
    custom.outputs = [index for op in taken for index in op.outputs if index in needed]
    subgraph.operators = [custom, *kept]
