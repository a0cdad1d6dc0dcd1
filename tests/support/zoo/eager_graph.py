"""Writes an ONNX graph and runs every node on sample inputs at once, so that later layers can be fitted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec, spec_to_json
from tests.support.zoo.least_squares import fit_convolution

Array = NDArray[Any]
_IR_VERSION = 8


class EagerGraph:
    """Collects the nodes of one ONNX graph; ``values`` holds what each tensor is on each sample.

    Args:
        samples: Model inputs, each with batch 1.
        seed: Draws all random weights.
        opset: ONNX opset.
        input_name: Name of the model's input.
    """

    def __init__(
        self, samples: Sequence[Array], seed: int, opset: int = 17, input_name: str = "image"
    ) -> None:
        self.values: dict[str, list[Array]] = {input_name: list(samples)}
        self.random = np.random.default_rng(seed)
        self.input = input_name
        self._opset = opset
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor."""
        return tuple(self.values[name][0].shape)

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        """Adds an initializer."""
        name = f"constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(np.asarray(values, dtype), name)
        return name

    def integers(self, *values: int) -> str:
        """Adds a list of int64: shapes, axes, bounds."""
        return self.constant(values, np.int64)

    def op(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Adds a node with one output; returns the output's name."""
        return self.ops(operator, *inputs, outputs=1, name=name, **attributes)[0]

    def ops(self, operator: str, *inputs: str, outputs: int, name: str = "", **attributes: Any) -> list[str]:
        """Adds a node; returns the names of its outputs."""
        stem = name or f"{operator.lower()}_{len(self._nodes)}"
        names = [stem] if outputs == 1 else [f"{stem}_{index}" for index in range(outputs)]
        node = helper.make_node(operator, list(inputs), names, name=stem, **attributes)
        results = self._run(node)
        self._nodes.append(node)
        for position, output in enumerate(names):
            self.values[output] = [result[position] for result in results]
        return names

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        group: int = 1,
        gain: float = 1.0,
        name: str = "",
    ) -> str:
        """A random convolution, scaled so that each channel has mean about 0 and deviation ``gain``."""
        shape = (channels, self.shape(x)[1] // group, kernel, kernel)
        weights = self.random.normal(0, 1, shape)
        attributes = {"strides": [stride, stride], "pads": [kernel // 2] * 4, "group": group}
        return self._normalized("Conv", x, weights, gain, name, **attributes)

    def conv_transpose(self, x: str, channels: int, *, kernel: int = 4, name: str = "") -> str:
        """A random transposed convolution of stride 2 that doubles the size exactly, normalized likewise."""
        weights = self.random.normal(0, 1, (self.shape(x)[1], channels, kernel, kernel))
        pad = (kernel - 2) // 2
        return self._normalized("ConvTranspose", x, weights, 1.0, name, strides=[2, 2], pads=[pad] * 4)

    def resize(self, x: str, factor: int, mode: str) -> str:
        """Enlarges by a whole factor; ``nearest`` repeats, ``linear`` keeps pixel centres."""
        batch, channels, height, width = self.shape(x)
        size = self.integers(batch, channels, factor * height, factor * width)
        nearest = mode == "nearest"
        rule = "asymmetric" if nearest else "half_pixel"
        extra = {"nearest_mode": "floor"} if nearest else {}
        attributes: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": rule, **extra}
        return self.op("Resize", x, "", "", size, **attributes)

    def fitted_conv(self, x: str, targets: Sequence[Array], kernel: int = 1, *, name: str = "") -> str:
        """A convolution fitted by least squares to targets (1, K, h, w) of the samples."""
        weights, bias = fit_convolution(self.values[x], targets, kernel)
        operands = [x, self.constant(weights), self.constant(bias)]
        return self.op("Conv", *operands, name=name, pads=[kernel // 2] * 4)

    def save(self, path: Path, outputs: Sequence[str], spec: ModelSpec | None) -> Path:
        """Writes the model; with ``spec`` the file carries it."""
        graph = helper.make_graph(
            self._nodes,
            "zoo",
            [helper.make_tensor_value_info(self.input, TensorProto.FLOAT, self.shape(self.input))],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, self.shape(name)) for name in outputs],
            list(self._constants.values()),
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", self._opset)], ir_version=_IR_VERSION
        )
        if spec is not None:
            entry = model.metadata_props.add()
            entry.key, entry.value = SPEC_METADATA_KEY, spec_to_json(spec)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path

    def _normalized(
        self, operator: str, x: str, weights: Array, gain: float, name: str, **attributes: Any
    ) -> str:
        channels = weights.shape[1] if operator == "ConvTranspose" else weights.shape[0]
        trial = helper.make_node(operator, [x, "weights"], ["y"], **attributes)
        found = self._run(trial, {"weights": numpy_helper.from_array(weights.astype(np.float32), "weights")})
        flat = np.concatenate([y[0].reshape(y[0].shape[1], -1) for y in found], axis=1).astype(np.float64)
        factor = gain / (flat.std(axis=1) + 1e-6)
        axes = [None, slice(None)] if operator == "ConvTranspose" else [slice(None), None]
        scaled = weights * factor[(*axes, None, None)]
        bias = self.random.normal(0, 0.4 * gain, channels) - flat.mean(axis=1) * factor
        return self.op(operator, x, self.constant(scaled), self.constant(bias), name=name, **attributes)

    def _run(self, node: Any, extra: dict[str, Any] | None = None) -> list[list[Array]]:
        constants = {**self._constants, **(extra or {})}
        fed = [name for name in dict.fromkeys(node.input) if name in self.values]
        infos = []
        for name in fed:
            kind = helper.np_dtype_to_tensor_dtype(self.values[name][0].dtype)
            infos.append(helper.make_tensor_value_info(name, kind, self.shape(name)))
        results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in node.output]
        used = [constants[name] for name in dict.fromkeys(node.input) if name in constants]
        graph = helper.make_graph([node], "one", infos, results, used)
        opset = [helper.make_opsetid("", self._opset)]
        model = onnx.shape_inference.infer_shapes(
            helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        count = len(self.values[self.input])
        return [session.run(None, {name: self.values[name][index] for name in fed}) for index in range(count)]
