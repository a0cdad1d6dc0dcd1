"""ONNX Runtime, with exactly the execution providers that the profile names."""

from __future__ import annotations

import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from edgepose.accelerators import EngineRequest, accelerator, providers
from edgepose.errors import DeviceError, MissingDependencyError, ModelError
from edgepose.records.device_profile import Precision
from edgepose.runtime.backend import BackendInfo, LoadedModel, Tensor, TensorInfo
from edgepose.runtime.model_file import sha256_of_model

_CPU = accelerator("cpu").provider
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


class OnnxRuntimeBackend(LoadedModel):
    """An ONNX file on ONNX Runtime.

    Args:
        path: The .onnx file.
        threads: Intra-op CPU threads.
        delegates: Accelerators that have an execution provider, best first. Only these are used. The first
            one must take ops; where it cannot, the next is used instead, and the info says so. One alone has
            no fallback.
        precision: Precision of the model's arithmetic, which TensorRT must be told.
        engine_cache: Folder in which TensorRT may keep engines; None keeps none.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        DeviceError: A provider is unknown, or none of them is available or took an op.
        ModelError: The file is damaged, has a dynamic input, or more than one input.
    """

    def __init__(
        self,
        path: Path,
        threads: int,
        delegates: Sequence[str] = ("cpu",),
        precision: Precision | None = None,
        engine_cache: Path | None = None,
    ) -> None:
        try:
            import onnxruntime
        except ModuleNotFoundError as problem:
            raise MissingDependencyError(
                f"{path.name} is an ONNX model and onnxruntime is not installed.",
                "Run: pip install 'edgepose[onnxruntime]'",
            ) from problem
        wanted = choose_providers(delegates, onnxruntime.get_available_providers())
        asked = EngineRequest(lambda: sha256_of_model(path), precision, onnxruntime.__version__, engine_cache)
        asked_for = [known for known in map(accelerator, delegates) if known.provider in wanted]
        settings = {known.provider: known.provider_options(asked) for known in asked_for}
        with _scratch_folder(onnxruntime) as profile_folder:
            self._session = _open_session(onnxruntime, path, threads, settings, profile_folder)
            refuse_dropped(delegates, wanted, self._session.get_providers())
            self._load(path)
            counts = _ops_per_provider(self._session)
        self._info = describe_session(onnxruntime.__version__, threads, delegates, counts)

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


def choose_providers(delegates: Sequence[str], available: Sequence[str]) -> list[str]:
    """The execution providers to ask for: those of the delegates that this onnxruntime was built with.

    Raises:
        DeviceError: A delegate is unknown, or none of them is there.
    """
    known = providers()
    unknown = [name for name in delegates if name not in known]
    if unknown:
        raise DeviceError(
            f"ONNX Runtime has no delegate {', '.join(unknown)}; expected {', '.join(known)}.",
            "A profile of LiteRT runs TFLite files: convert the model with --to tflite.",
        )
    wanted = [known[name] for name in delegates]
    there = [name for name in wanted if name in available]
    if not there:
        raise DeviceError(
            f"Execution provider {' or '.join(wanted)} is required, but this onnxruntime has only "
            f"{', '.join(available)}.",
            "Install the build of onnxruntime for this device; there is no silent fallback.",
        )
    return there


def refuse_dropped(delegates: Sequence[str], wanted: Sequence[str], loaded: Sequence[str]) -> None:
    """Finds a provider whose own libraries did not load: ONNX Runtime leaves it out and says nothing.

    Raises:
        DeviceError: None of the wanted providers was loaded.
    """
    if not set(wanted) & set(loaded):
        raise DeviceError(
            f"Execution provider {' or '.join(wanted)} was asked for and could not be loaded; ONNX Runtime "
            f"would run on {', '.join(loaded)}.",
            f"Check the libraries of {delegates[0]} on this device; there is no silent fallback.",
        )


def describe_session(
    version: str, threads: int, delegates: Sequence[str], counts: Mapping[str, int]
) -> BackendInfo:
    """What really runs the model: the first delegate that took an op.

    Args:
        version: Version of ONNX Runtime.
        threads: CPU threads given.
        delegates: What was asked for, best first.
        counts: Execution provider to the number of ops that it took.

    Raises:
        DeviceError: No delegate took an op.
    """
    total = sum(counts.values())
    known = providers()
    used = next((name for name in delegates if counts.get(known[name], 0)), None)
    if used is None:
        raise DeviceError(
            f"Execution provider {' or '.join(known[name] for name in delegates)} took none of the "
            f"{total} ops.",
            "Check the provider's own libraries on this device; there is no silent fallback.",
        )
    return BackendInfo(
        runtime="onnxruntime",
        version=version,
        delegate_used=used,
        ops_total=total,
        ops_on_cpu=counts.get(_CPU, 0),
        threads=threads,
        fallback_from=None if used == delegates[0] else delegates[0],
    )


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


# It rounds float weights between a DQ and a Q with one scale for all channels: what a recipe left in float
# would be quantized after all, and badly (TinyPose-256 with float depthwise convolutions: 0 AP).
_DISABLED_OPTIMIZERS = ["WeightBiasQuantization"]


def _open_session(
    runtime: Any, path: Path, threads: int, providers: dict[str, dict[str, str]], profile_folder: str | None
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
        return runtime.InferenceSession(
            os.fspath(path),
            options,
            providers=list(providers.items()),
            enable_fallback=0,
            disabled_optimizers=_DISABLED_OPTIMIZERS,
        )
    except Exception as problem:
        # ONNX Runtime's exceptions share no base class but Exception.
        first, *others = providers
        if first == _CPU:
            raise ModelError(
                f"{path.name} cannot be loaded by ONNX Runtime: {_reason(problem)}."
            ) from problem
        # A damaged file is told from a provider that fails: the CPU reads every whole file.
        rest = {name: providers[name] for name in others} or {_CPU: {}}
        session = _open_session(runtime, path, threads, rest, profile_folder)
        if others:
            return session
        raise DeviceError(
            f"Execution provider {first} cannot run {path.name}: {_reason(problem)}.",
            "Check the provider's own libraries on this device; there is no silent fallback.",
        ) from problem


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
