"""The view of an ONNX file: stored values, types, sizes, attributes, who writes and who reads a tensor.

Everything that reads ONNX graphs on the host reads this: contents, audit, conversion, quantization, repair.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.runtime.model_file import ModelFile

# Values of one tensor between two ops; 256 MiB in float32.
_RESULT_LIMIT = 1 << 26


class OnnxGraph:
    """One view of a ``ModelProto`` with inferred sizes: its main graph; it does not follow later changes."""

    def __init__(self, model: Any) -> None:
        from onnx import TensorProto, numpy_helper

        graph = model.graph
        self.model = model
        self.nodes: list[Any] = list(graph.node)
        self._float = TensorProto.FLOAT
        self._to_array = numpy_helper.to_array
        self.initializers: dict[str, Any] = {entry.name: entry for entry in graph.initializer}
        self._stored = self.initializers | {
            node.output[0]: attribute.t
            for node in self.nodes
            if node.op_type == "Constant"
            for attribute in node.attribute
            if attribute.name == "value"
        }
        self.inputs = tuple(entry.name for entry in graph.input if entry.name not in self._stored)
        self.outputs = tuple(entry.name for entry in graph.output)
        entries = (*graph.value_info, *graph.input, *graph.output)
        self._types = {entry.name: entry.type.tensor_type for entry in entries}
        self.producers = {name: node for node in self.nodes for name in node.output if name}
        self.readers: dict[str, list[Any]] = defaultdict(list)
        for node in self.nodes:
            for name in (*node.input, *captured(node)):
                if name:
                    self.readers[name].append(node)

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return next((int(i.version) for i in self.model.opset_import if i.domain in {"", "ai.onnx"}), 0)

    @property
    def elements(self) -> dict[str, int]:
        """Element types of all tensors whose type is known, by ONNX's numbers."""
        known = {name: entry.elem_type for name, entry in self._types.items()}
        return known | {name: entry.data_type for name, entry in self._stored.items()}

    def is_stored(self, name: str) -> bool:
        """Whether a tensor's values are in the file."""
        return name in self._stored

    def stored(self, name: str) -> NDArray[Any]:
        """A stored tensor's values."""
        return np.asarray(self._to_array(self._stored[name]))

    def is_float32(self, name: str) -> bool:
        """Whether a tensor, stored or computed, is known to be float32."""
        entry = self._stored.get(name)
        if entry is not None:
            return bool(entry.data_type == self._float)
        known = self._types.get(name)
        return known is not None and known.elem_type == self._float

    def shape(self, name: str) -> tuple[int, ...] | None:
        """A computed tensor's sizes; None where one is open or unknown."""
        known = self._types.get(name)
        if known is None or not known.HasField("shape"):
            return None
        sizes = tuple(int(size.dim_value) for size in known.shape.dim)
        fixed = all(size.HasField("dim_value") for size in known.shape.dim)
        return sizes if fixed else None

    def computed_inputs(self, node: Any) -> tuple[str, ...]:
        """The inputs of a node that are not stored, also those of its branches and loop bodies."""
        return tuple(name for name in (*node.input, *captured(node)) if name and name not in self._stored)


def load_onnx(model: ModelFile) -> tuple[Any, OnnxGraph]:
    """Loads an ONNX file that its bytes show to be data, and has ONNX check it.

    Returns:
        The ``ModelProto`` as it is in the file, and the view with its sizes inferred.

    Raises:
        ModelError: The file is damaged, or has an op that ONNX does not know.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            "Reading an ONNX model's graph needs the onnx package.", "Run: pip install 'edgepose[convert]'"
        ) from problem
    model.check()
    try:
        loaded = onnx.load_model_from_string(bytes(model.data))
        onnx.load_external_data_for_model(loaded, str(model.path.parent))
        # The checker wants output shapes, which exporters may leave out and runtimes do not need.
        complete = onnx.shape_inference.infer_shapes(loaded)
        for value in complete.graph.output:
            value.type.tensor_type.shape.SetInParent()
        onnx.checker.check_model(complete)
    except (
        onnx.checker.ValidationError,
        onnx.shape_inference.InferenceError,
        DecodeError,
        OSError,
        ValueError,
        RuntimeError,
    ) as problem:
        reason = " ".join(str(problem).split()).split(" ==> ")[0].rstrip(".")
        raise ModelError(f"{model.name} is not a valid ONNX model: {reason[:200]}.") from problem
    _refuse_huge_results(model.name, complete)
    return loaded, OnnxGraph(complete)


def _refuse_huge_results(name: str, complete: Any) -> None:
    """A file of a few bytes can ask for any amount of memory."""
    for value in (*complete.graph.value_info, *complete.graph.output):
        sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim if dim.dim_value > 0]
        if math.prod(sizes) > _RESULT_LIMIT:
            raise ModelError(
                f"{name} computes a tensor {value.name!r} of {math.prod(sizes):.2g} values; at most "
                f"{_RESULT_LIMIT} are taken."
            )


def numpy_name(element: int) -> str:
    """Numpy's name of an ONNX element type."""
    from onnx import helper

    return str(np.dtype(helper.tensor_dtype_to_np_dtype(element)).name)


def with_onnx_entries(model: ModelFile, entries: dict[str, str]) -> bytes:
    """The bytes of an ONNX file with entries added or replaced.

    Raises:
        ModelError: The file is damaged.
    """
    loaded, _ = load_onnx(model)
    del loaded.metadata_props[:]
    for key, value in {**model.metadata, **entries}.items():
        loaded.metadata_props.add(key=key, value=value)
    data: bytes = loaded.SerializeToString(deterministic=True)
    return data


def attribute(node: Any, name: str, default: Any = None) -> Any:
    """An attribute's value, or ``default`` where it is not given."""
    from onnx import helper

    for entry in node.attribute:
        if entry.name == name:
            value = helper.get_attribute_value(entry)
            return value.decode() if isinstance(value, bytes) else value
    return default


def captured(node: Any) -> Iterator[str]:
    """Names that a node's branches and loop bodies read; some may be their own."""
    for entry in node.attribute:
        for graph in (entry.g, *entry.graphs):
            for inner in graph.node:
                yield from inner.input
                yield from captured(inner)
