"""LiteRT: ai-edge-litert, or tflite-runtime on devices that have nothing newer."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import DeviceError, ModelError
from edgepose.inference.backend import BackendInfo, Tensor, TensorInfo
from edgepose.inference.backends.litert_runtime import import_runtime
from edgepose.inference.tflite_outputs import without_unread_outputs

_BUILT_IN = frozenset({"cpu", "xnnpack"})
_EDGETPU_OP = "edgetpu-custom-op"


class LiteRtBackend:
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
        if delegate not in _BUILT_IN:
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

    @property
    def info(self) -> BackendInfo:
        """What really runs the model."""
        return self._info

    @property
    def input(self) -> TensorInfo:
        """The input tensor."""
        return self._input

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The output tensors, in the file's order."""
        return self._outputs

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
        if delegated == 0 and delegate not in _BUILT_IN:
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
    if _EDGETPU_OP in text:
        return DeviceError(
            f"{path.name} is compiled for the Edge TPU ({_EDGETPU_OP}) and no Edge TPU delegate is loaded.",
            "Run it on a device with an Edge TPU under profile 'coral', or use the file before compilation.",
        )
    if "unresolved custom op" in text or "Didn't find op" in text:
        return ModelError(f"{path.name} has an op that this runtime lacks: {_first_line(problem)}.")
    return ModelError(f"{path.name} cannot be loaded by LiteRT: {_first_line(problem)}.")


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
