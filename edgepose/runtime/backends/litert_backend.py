"""LiteRT: ai-edge-litert, or tflite-runtime on devices that have nothing newer.

Leaves out of a TFLite file what only unread outputs need.

The interpreter runs every op of a file, also those whose results are not read: a third of BlazePose's time
goes into a mask. Taking the ops off the list of the subgraph changes no other op and no weight, so what is
still computed is computed bit for bit as before. The file on disk stays as it is.

Slots are those of TFLite's ``schema.fbs``, positions those of FlatBuffers' binary format: a vector is its
length and then its elements, a table's field is found by its vtable, an offset counts from where it stands.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.accelerators import accelerators
from edgepose.errors import DeviceError, ModelError
from edgepose.records.device_profile import load_profiles
from edgepose.runtime.backend import BackendInfo, LoadedModel, Tensor, TensorInfo
from edgepose.runtime.backends.litert_runtime import import_runtime

Shape = tuple[int, ...]

# Fields of Model, of SubGraph, of Operator, of Tensor.
_SUBGRAPHS, _SIGNATURES = 2, 7
_TENSORS, _OUTPUTS, _OPERATORS = 0, 2, 3
_OP_INPUTS, _OP_OUTPUTS = 1, 2
_SHAPE = 0


def without_unread_outputs(content: bytes, reads: Callable[[Shape], bool]) -> bytes | None:
    """The file without the outputs that are not read and without the ops that serve only them.

    Args:
        content: A TFLite file.
        reads: Whether an output of this shape is read.

    Returns:
        The changed file, or None where there is nothing to leave out or it is not certain that nothing else
        needs it: several subgraphs, signatures, an op without results. Also where the file is damaged: the
        runtime then says so.
    """
    try:
        return _pruned(bytearray(content), reads)
    except (struct.error, IndexError):
        return None


def _pruned(data: bytearray, reads: Callable[[Shape], bool]) -> bytes | None:
    file = _Tables(data)
    model = file.followed(0)
    subgraphs = file.tables(model, _SUBGRAPHS)
    if len(subgraphs) != 1 or file.tables(model, _SIGNATURES):
        return None
    graph = subgraphs[0]
    tensors, outputs = file.tables(graph, _TENSORS), file.numbers(graph, _OUTPUTS)
    read = [index for index in outputs if reads(tuple(file.numbers(tensors[index], _SHAPE)))]
    if not read or len(read) == len(outputs):
        return None
    operators = file.tables(graph, _OPERATORS)
    made = [file.numbers(operator, _OP_OUTPUTS) for operator in operators]
    if not all(made):
        return None
    used = [file.numbers(operator, _OP_INPUTS) for operator in operators]
    needed = _needed(list(zip(used, made, strict=True)), read)
    file.shorten_tables(graph, _OPERATORS, [operators[index] for index in needed])
    file.shorten_numbers(graph, _OUTPUTS, read)
    return bytes(data)


def _needed(ops: Sequence[tuple[Sequence[int], Sequence[int]]], read: Sequence[int]) -> list[int]:
    """Which ops, as (inputs, outputs) in the order of running, the read tensors come from."""
    wanted, needed = set(read), []
    for index in range(len(ops) - 1, -1, -1):
        inputs, outputs = ops[index]
        if wanted.intersection(outputs):
            needed.append(index)
            wanted.update(inputs)
    return needed[::-1]


class _Tables:
    """Tables and vectors of a FlatBuffer, by position."""

    def __init__(self, data: bytearray) -> None:
        self._data = data

    def followed(self, position: int) -> int:
        """Where the offset at a position leads."""
        return position + self._get("<I", position)

    def numbers(self, table: int, slot: int) -> list[int]:
        """A vector of int32."""
        start, length = self._vector(table, slot)
        return [self._get("<i", start + 4 * index) for index in range(length)]

    def tables(self, table: int, slot: int) -> list[int]:
        """Positions of a vector of tables."""
        start, length = self._vector(table, slot)
        return [self.followed(start + 4 * index) for index in range(length)]

    def shorten_numbers(self, table: int, slot: int, numbers: Sequence[int]) -> None:
        """Writes a shorter vector of int32 over a longer one."""
        start = self._shortened(table, slot, len(numbers))
        struct.pack_into(f"<{len(numbers)}i", self._data, start, *numbers)

    def shorten_tables(self, table: int, slot: int, positions: Sequence[int]) -> None:
        """Writes a shorter vector of tables over a longer one; the tables stay where they are."""
        start = self._shortened(table, slot, len(positions))
        offsets = [position - (start + 4 * index) for index, position in enumerate(positions)]
        struct.pack_into(f"<{len(offsets)}I", self._data, start, *offsets)

    def _shortened(self, table: int, slot: int, length: int) -> int:
        start, _ = self._vector(table, slot)
        struct.pack_into("<I", self._data, start - 4, length)
        return start

    def _vector(self, table: int, slot: int) -> tuple[int, int]:
        """Position of the first element, and how many; nothing where the field is absent."""
        vtable = table - self._get("<i", table)
        entry = 4 + 2 * slot
        offset = self._get("<H", vtable + entry) if entry < self._get("<H", vtable) else 0
        if not offset:
            return 4, 0
        vector = self.followed(table + offset)
        length = self._get("<I", vector)
        if vector + 4 + 4 * length > len(self._data):
            raise IndexError("vector reaches past the end")
        return vector + 4, length

    def _get(self, kind: str, position: int) -> int:
        if position < 0:
            raise IndexError("position before the start")
        return int(struct.unpack_from(kind, self._data, position)[0])


def _is_built_in(delegate: str) -> bool:
    known = accelerators().get(delegate)
    return known is not None and known.built_in


class LiteRtBackend(LoadedModel):
    """A TFLite file on the LiteRT interpreter.

    Args:
        path: The .tflite file.
        threads: CPU threads.
        delegate: ``xnnpack`` (built in), ``cpu`` (reference kernels only) or the name of an external
            delegate, whose shared library must then be given.
        delegate_library: Shared library of an external delegate.
        reads: Whether an output of a shape is read; ops that serve only others are left out. None reads all.

    Raises:
        MissingDependencyError: No LiteRT package is installed.
        DeviceError: The external delegate cannot be loaded or takes no op, or the file is compiled for
            a delegate that was not asked for.
        ModelError: The file is damaged, has an op that the runtime lacks, a dynamic input, or more than
            one input.
    """

    def __init__(
        self,
        path: Path,
        threads: int,
        delegate: str = "xnnpack",
        delegate_library: str | None = None,
        reads: Callable[[tuple[int, ...]], bool] | None = None,
    ) -> None:
        module, self._package = import_runtime()
        content = None if reads is None else without_unread_outputs(path.read_bytes(), reads)
        options: dict[str, Any] = {"num_threads": threads}
        options |= {"model_path": os.fspath(path)} if content is None else {"model_content": content}
        if delegate != "xnnpack":
            # Else XNNPACK takes what an external delegate leaves, and would be counted as that delegate.
            options["experimental_op_resolver_type"] = module.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        if not _is_built_in(delegate):
            options["experimental_delegates"] = [_load_delegate(module, delegate, delegate_library)]
        try:
            with _native_stderr_discarded():
                self._interpreter = module.Interpreter(**options)
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as problem:
            raise _explain(path, problem) from problem
        self._input_index, self._input = _single_input(path, self._interpreter.get_input_details())
        details = self._interpreter.get_output_details()
        self._output_indices = [int(d["index"]) for d in details]
        self._outputs = tuple(_tensor_info(d) for d in details)
        self._info = self._measure(threads, delegate)

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        """Lets ``write`` fill the input tensor in place."""
        # The view must not outlive this call: LiteRT refuses to invoke while one exists.
        write(self._interpreter.tensor(self._input_index)())

    def invoke(self) -> None:
        """Runs the model.

        Raises:
            ModelError: The runtime failed.
        """
        try:
            self._interpreter.invoke()
        except (ValueError, RuntimeError) as problem:
            raise ModelError(f"LiteRT failed while running the model: {_first_line(problem)}.") from problem

    def read_outputs(self) -> tuple[Tensor, ...]:
        """Copies of the output tensors as stored."""
        return tuple(self._interpreter.get_tensor(index) for index in self._output_indices)

    def _measure(self, threads: int, delegate: str) -> BackendInfo:
        total, delegated = _count_delegated(self._interpreter._get_ops_details())
        if delegated == 0 and not _is_built_in(delegate):
            raise DeviceError(
                f"Delegate '{delegate}' was loaded and took none of the {total} ops.",
                "Convert the model for this delegate; there is no fallback to the CPU.",
            )
        return BackendInfo(
            runtime=self._package,
            version=importlib.metadata.version(self._package),
            delegate_used=delegate if delegated else "none",
            ops_total=total,
            ops_on_cpu=total - delegated,
            threads=threads,
        )


def _load_delegate(module: Any, delegate: str, library: str | None) -> object:
    if library is None:
        raise DeviceError(f"Delegate '{delegate}' needs a shared library and the profile names none.")
    try:
        # LiteRT's own object prints a traceback when it is thrown away without its library.
        ctypes.CDLL(library)
        return module.load_delegate(library)
    except (OSError, ValueError) as problem:
        raise DeviceError(
            f"Delegate '{delegate}' is required, but its library {library} cannot be loaded.",
            "Install the accelerator's runtime on the device; there is no fallback to the CPU.",
        ) from problem


def _single_input(path: Path, details: list[dict[str, Any]]) -> tuple[int, TensorInfo]:
    if len(details) != 1:
        names = ", ".join(str(d["name"]) for d in details)
        raise ModelError(f"{path.name} has {len(details)} inputs ({names}); a pose model has one.")
    # -1 stands for an open size. LiteRT takes it as 1, which is right for the batch only.
    signature = [int(size) for size in details[0].get("shape_signature", ())]
    if -1 in signature[1:]:
        raise ModelError(
            f"{path.name} has the dynamic input shape {tuple(signature)}.",
            "Export it with a fixed input size; only the batch may be left open.",
        )
    return int(details[0]["index"]), _tensor_info(details[0])


def _tensor_info(details: dict[str, Any]) -> TensorInfo:
    scale, zero_point = details["quantization"]
    return TensorInfo(
        name=str(details["name"]),
        shape=tuple(int(size) for size in details["shape"]),
        dtype=np.dtype(details["dtype"]),
        scale=float(scale),
        zero_point=int(zero_point),
    )


def _count_delegated(ops: list[dict[str, Any]]) -> tuple[int, int]:
    """Counts all ops and those that a delegate took.

    After delegation the interpreter lists the original ops and one DELEGATE op per partition. An op
    belongs to a partition when it lies on the way from the partition's outputs back to its inputs.
    """
    originals = [op for op in ops if op["op_name"] != "DELEGATE"]
    producer = {int(t): i for i, op in enumerate(originals) for t in op["outputs"]}
    taken: set[int] = set()
    for partition in (op for op in ops if op["op_name"] == "DELEGATE"):
        inputs = {int(t) for t in partition["inputs"]}
        pending = [int(t) for t in partition["outputs"]]
        while pending:
            tensor = pending.pop()
            index = producer.get(tensor)
            if tensor in inputs or index is None or index in taken:
                continue
            taken.add(index)
            pending.extend(int(t) for t in originals[index]["inputs"])
    return len(originals), len(taken)


def _explain(path: Path, problem: Exception) -> ModelError | DeviceError:
    text = str(problem)
    for made_for in accelerators().values():
        if made_for.compiled_op and made_for.compiled_op in text:
            return DeviceError(
                f"{path.name} is compiled for the {made_for.title} ({made_for.compiled_op}) and no "
                f"{made_for.title} delegate is loaded.",
                f"Run it on a device with the {made_for.title} as {_profiles_with(made_for.name)}, "
                "or use the file before compilation.",
            )
    if "unresolved custom op" in text or "Didn't find op" in text:
        return ModelError(f"{path.name} has an op that this runtime lacks: {_first_line(problem)}.")
    return ModelError(f"{path.name} cannot be loaded by LiteRT: {_first_line(problem)}.")


def _profiles_with(delegate: str) -> str:
    return " or ".join(profile.id for profile in load_profiles() if profile.runtime.delegate == delegate)


def _first_line(problem: Exception) -> str:
    return str(problem).strip().splitlines()[0].rstrip(".") if str(problem).strip() else repr(problem)


@contextmanager
def _native_stderr_discarded() -> Iterator[None]:
    """Keeps the interpreter's own INFO line off the user's terminal; errors come as exceptions."""
    sys.stderr.flush()
    saved = os.dup(2)
    sink = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(sink, 2)
        yield
    finally:
        ctypes.CDLL(None).fflush(None)
        os.dup2(saved, 2)
        os.close(sink)
        os.close(saved)
