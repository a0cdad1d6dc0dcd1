"""ONNX Runtime, with exactly the execution providers that the profile names."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.errors import DeviceError, MissingDependencyError, ModelError
from edgepose.inference.backend import BackendInfo, Tensor, TensorInfo

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
_ELEMENT_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
}
_LOG_FATAL_ONLY = 4
_RECORD_ASSIGNMENT = "session.record_ep_graph_assignment_info"
_ASSIGNMENT_INFO = "get_provider_graph_assignment_info"


class OnnxRuntimeBackend:
    """An ONNX file on ONNX Runtime.

    Args:
        path: The .onnx file.
        threads: Intra-op CPU threads.
        delegates: Keys of ``PROVIDERS``, best first. Only these are used; the first one must take ops.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        DeviceError: A provider is unknown or not available, or the first one took no op.
        ModelError: The file is damaged, has a dynamic input, or more than one input.
    """

    def __init__(self, path: Path, threads: int, delegates: Sequence[str] = ("cpu",)) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as problem:
            raise MissingDependencyError(
                f"{path.name} is an ONNX model and onnxruntime is not installed.",
                "Run: pip install 'edgepose[onnxruntime]'",
            ) from problem
        wanted = _providers(delegates, onnxruntime.get_available_providers())
        with _scratch_folder(onnxruntime) as profile_folder:
            self._session = _open_session(onnxruntime, path, threads, wanted, profile_folder)
            self._load(path)
            self._info = self._measure(onnxruntime.__version__, threads, delegates[0])

    def _load(self, path: Path) -> None:
        self._input = _single_input(path, self._session.get_inputs())
        self._buffer: Tensor = np.zeros(self._input.shape, self._input.dtype)
        self._results: list[Tensor] = []
        # ONNX may leave output shapes symbolic, so the shapes are taken from a run.
        self.invoke()
        nodes = self._session.get_outputs()
        self._outputs = tuple(
            TensorInfo(node.name, tuple(result.shape), result.dtype)
            for node, result in zip(nodes, self._results, strict=True)
        )

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
        write(self._buffer)

    def invoke(self) -> None:
        """Runs the model.

        Raises:
            ModelError: The runtime failed.
        """
        try:
            self._results = self._session.run(None, {self._input.name: self._buffer})
        except Exception as problem:
            # ONNX Runtime's exceptions share no base class but Exception.
            raise ModelError(f"ONNX Runtime failed while running the model: {_reason(problem)}.") from problem

    def read_outputs(self) -> tuple[Tensor, ...]:
        """The output tensors of the last run."""
        return tuple(self._results)

    def _measure(self, version: str, threads: int, delegate: str) -> BackendInfo:
        counts = _ops_per_provider(self._session)
        total = sum(counts.values())
        on_delegate = counts.get(PROVIDERS[delegate], 0)
        if on_delegate == 0:
            raise DeviceError(
                f"Execution provider {PROVIDERS[delegate]} took none of the {total} ops.",
                "Check the provider's own libraries on this device; there is no silent fallback.",
            )
        on_cpu = counts.get(PROVIDERS["cpu"], 0)
        return BackendInfo("onnxruntime", version, delegate, total, on_cpu, threads)


def _providers(delegates: Sequence[str], available: Sequence[str]) -> list[str]:
    unknown = [name for name in delegates if name not in PROVIDERS]
    if unknown:
        raise DeviceError(
            f"ONNX Runtime has no delegate {', '.join(unknown)}; expected {', '.join(PROVIDERS)}.",
            "A profile of LiteRT runs TFLite files: convert the model with --to tflite.",
        )
    wanted = [PROVIDERS[name] for name in delegates]
    missing = [name for name in wanted if name not in available]
    if missing:
        raise DeviceError(
            f"Execution provider {', '.join(missing)} is required, but this onnxruntime has only "
            f"{', '.join(available)}.",
            "Install the build of onnxruntime for this device; there is no silent fallback.",
        )
    return wanted


def _ops_per_provider(session: Any) -> Counter[str]:
    """Number of graph nodes that each execution provider runs; a provider may hold several parts."""
    counts: Counter[str] = Counter()
    if hasattr(session, _ASSIGNMENT_INFO):
        for part in session.get_provider_graph_assignment_info():
            counts[part.ep_name] += len(part.get_nodes())
        return counts
    # Before 1.24 (JetPack has 1.18) only the profile of a run tells. It counts the nodes as they ran,
    # so fused ones count once.
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    ran = {
        (event["name"], event["args"]["provider"])
        for event in events
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
    }
    counts.update(provider for _, provider in ran)
    return counts


def _scratch_folder(runtime: Any) -> AbstractContextManager[str | None]:
    """A folder for the profile of one run, only where nothing else tells which provider has which op."""
    if hasattr(runtime.InferenceSession, _ASSIGNMENT_INFO):
        return nullcontext()
    return tempfile.TemporaryDirectory(prefix="edgepose-")


def _open_session(
    runtime: Any, path: Path, threads: int, providers: list[str], profile_folder: str | None
) -> Any:
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _LOG_FATAL_ONLY
    options.add_session_config_entry(_RECORD_ASSIGNMENT, "1")
    if profile_folder is not None:
        options.enable_profiling = True
        options.profile_file_prefix = f"{profile_folder}/ops"
    try:
        # With its own fallback ONNX Runtime would print to standard output and continue on the CPU.
        session = runtime.InferenceSession(os.fspath(path), options, providers=providers, enable_fallback=0)
    except Exception as problem:
        raise ModelError(f"{path.name} cannot be loaded by ONNX Runtime: {_reason(problem)}.") from problem
    return session


def _single_input(path: Path, nodes: list[Any]) -> TensorInfo:
    if len(nodes) != 1:
        names = ", ".join(node.name for node in nodes)
        raise ModelError(f"{path.name} has {len(nodes)} inputs ({names}); a pose model has one.")
    node = nodes[0]
    if node.type not in _ELEMENT_TYPES:
        raise ModelError(f"{path.name} takes {node.type}; supported: {', '.join(_ELEMENT_TYPES)}.")
    shape = tuple(node.shape)
    # A batch that is left open is fixed at 1; any other open size is an error.
    if shape and not isinstance(shape[0], int):
        shape = (1, *shape[1:])
    if not all(isinstance(size, int) and size > 0 for size in shape):
        raise ModelError(
            f"{path.name} has the dynamic input shape {shape}.",
            "Run: edgepose convert MODEL --to onnx, which fixes every size from the spec.",
        )
    return TensorInfo(node.name, shape, np.dtype(_ELEMENT_TYPES[node.type]))


def _reason(problem: Exception) -> str:
    """The first line of an ONNX Runtime message without its code prefix."""
    line = (str(problem).strip().splitlines() or [repr(problem)])[0]
    return line.rsplit(" : ", 1)[-1].rstrip(".")
