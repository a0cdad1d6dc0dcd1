"""Builds small ONNX models and compares the direct route's file with ONNX Runtime."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.host.convert.direct.convert import DirectConversion, convert_direct

Arrays = dict[str, NDArray[Any]]


@dataclass
class OnnxBuilder:
    """Collects nodes; every method returns the name of what it made."""

    opset: int = 17
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    inputs: dict[str, tuple[int | str, ...]] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(self.seed)

    def input(self, *shape: int | str, name: str = "") -> str:
        chosen = name or f"x{len(self.inputs)}"
        self.inputs[chosen] = shape
        return chosen

    def constant(self, data: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(data, dtype), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(values, np.int64)

    def weights(self, *shape: int) -> str:
        return self.constant(self.random.standard_normal(shape) / np.sqrt(max(1, np.prod(shape[1:]))))

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attrs: Any) -> Any:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=f"node{len(self.nodes)}", **attrs))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, channels_in: int, channels_out: int, kernel: int = 1, **attrs: Any) -> str:
        group = attrs.get("group", 1)
        weights = self.weights(channels_out, channels_in // group, kernel, kernel)
        pads = attrs.pop("pads", [kernel // 2] * 4)
        name: str = self.op("Conv", x, weights, self.weights(channels_out), pads=pads, **attrs)
        return name

    def save(self, path: Path, *outputs: str) -> Path:
        infos = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in self.inputs.items()]
        results = [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "g", infos, results, self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)
        inferred = onnx.shape_inference.infer_shapes(model)
        onnx.save(inferred, str(path))
        return path


@dataclass(frozen=True)
class Comparison:
    """What both runtimes gave, LiteRT's in ONNX's axis order, and what the conversion reported."""

    expected: Arrays
    found: Arrays
    conversion: DirectConversion
    kinds: Counter[str]

    @property
    def worst(self) -> float:
        """The largest difference, relative to the largest expected value (at least 1)."""
        worst = 0.0
        for name, wanted in self.expected.items():
            assert self.found[name].shape == wanted.shape
            gap = np.abs(self.found[name].astype(np.float64) - wanted).max(initial=0.0)
            worst = max(worst, float(gap / max(1.0, np.abs(wanted).max(initial=0.0))))
        return worst


def run_onnx(path: Path, feeds: Arrays) -> Arrays:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def run_tflite(path: Path, feeds: Arrays, conversion: DirectConversion) -> tuple[Arrays, Counter[str]]:
    interpreter = Interpreter(str(path), num_threads=1)
    runner = interpreter.get_signature_runner("serving_default")
    placed = {
        n: np.ascontiguousarray(x.transpose(conversion.input_permutations[n])) for n, x in feeds.items()
    }
    found = runner(**placed)
    back = {n: y.transpose(np.argsort(conversion.output_permutations[n])) for n, y in found.items()}
    return back, Counter(item["op_name"] for item in interpreter._get_ops_details())


def compare(path: Path, scale: float = 1.0, feeds: Arrays | None = None) -> Comparison:
    """Convert ``path`` beside itself and run both files on the same random input."""
    if feeds is None:
        random = np.random.default_rng(1)
        model = onnx.load(str(path))
        feeds = {}
        for item in model.graph.input:
            shape = [dim.dim_value or 1 for dim in item.type.tensor_type.shape.dim]
            feeds[item.name] = (random.standard_normal(shape) * scale).astype(np.float32)
    target = path.with_suffix(".tflite")
    conversion = convert_direct(path, target)
    found, kinds = run_tflite(target, feeds, conversion)
    return Comparison(run_onnx(path, feeds), found, conversion, kinds)
