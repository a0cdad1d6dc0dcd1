"""Every intermediate tensor of an ONNX model, by the float parent's names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

# onnxruntime's quantizer calls the real values of tensor X so after it has been through QDQ.
_DEQUANTIZED_SUFFIX = "_DequantizeLinear_Output"
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "Cast", "Constant"})


class OnnxTensors:
    """An ONNX model that gives all its tensors.

    Args:
        path: The file, which loads (it was opened by a backend before).
    """

    channel_axis = 1

    def __init__(self, path: Path) -> None:
        import onnx
        import onnxruntime

        model = onnx.load(path)
        self._op_by_name = {
            name: node.op_type
            for node in model.graph.node
            if node.op_type not in _CONVERSIONS
            for name in node.output
            if name
        }
        tensor_of = _tensor_by_parent_name(model)
        present = {output.name for output in model.graph.output}
        model.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in sorted(set(tensor_of.values()) - present)
        )
        options = onnxruntime.SessionOptions()
        # Optimizations would remove the very tensors asked for.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._names, self._tensors = list(tensor_of), list(tensor_of.values())
        self._values: dict[str, NDArray[Any]] = {}
        self._input_name = self._session.get_inputs()[0].name

    def op_of(self, name: str) -> str:
        """Name of the op that writes a tensor."""
        return self._op_by_name.get(name, "")

    def run(self, values: NDArray[Any]) -> None:
        """Runs the model and keeps every tensor until the next run."""
        results = self._session.run(self._tensors, {self._input_name: values})
        self._values = {
            name: result
            for name, result in zip(self._names, results, strict=True)
            if isinstance(result, np.ndarray) and np.issubdtype(result.dtype, np.floating) and result.size
        }

    def names(self) -> list[str]:
        """The float tensors of the last run, in the order of the ops."""
        return list(self._values)

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor of the last run."""
        return self._values[name].astype(np.float32, copy=False)


def _tensor_by_parent_name(model: Any) -> dict[str, str]:
    """The parent's tensor name to the tensor here that holds its value."""
    stored = {entry.name for entry in model.graph.initializer}
    tensors = {}
    for node in model.graph.node:
        for name in node.output:
            if not name or (node.op_type in _CONVERSIONS and node.input and node.input[0] in stored):
                continue
            if name.endswith(_DEQUANTIZED_SUFFIX):
                tensors[name.removesuffix(_DEQUANTIZED_SUFFIX)] = name
            elif node.op_type not in _CONVERSIONS or name in {o.name for o in model.graph.output}:
                tensors.setdefault(name, name)
    return tensors
