"""Which ops of a model still compute in float: the check that catches silent damage.

Converters and quantizers leave ops in float without an error. So after every step the file itself is
read, op by op and type by type.

In QDQ form every op is written in float between DequantizeLinear and QuantizeLinear, and the runtime
fuses the three into an integer kernel, where it has one. An op counts as integer when there is such a
kernel, all its float inputs come from DequantizeLinear and all its float outputs go to QuantizeLinear; an
activation right behind an op (Conv, Relu, QuantizeLinear) is fused with it. In a file of signed activations,
which is made for TensorRT, so is the addition behind a convolution. Stored biases may be float: they are
added to the sum of products.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import ModelError
from edgepose.host.models.onnx_view import OnnxGraph
from edgepose.host.models.operators import (
    CONVERSIONS,
    CONVOLUTIONS,
    FUSED_ACTIVATIONS,
    INTEGER_KERNELS,
    TFLITE_CONVERSIONS,
    TFLITE_WEIGHTS,
    WEIGHTED,
    data_positions,
)
from edgepose.host.models.tflite_view import op_name, read_tflite, tensor_name
from edgepose.records.lineage import QuantizationRecipe
from edgepose.runtime.model_file import ModelFile

_SHOWN = 5


@dataclass(frozen=True)
class AuditedOp:
    """An op that the audit has something to say about.

    Attributes:
        name: Its first output tensor (TFLite) or its node name (ONNX).
        tensors: Its output tensors; where an activation is one op with it, also that one's name and output.
    """

    op: str
    name: str
    tensors: tuple[str, ...]


@dataclass(frozen=True)
class OpAudit:
    """What computes how.

    Attributes:
        float_ops: Ops that compute on float values. Steps that only turn float into integer or back
            (QUANTIZE, DEQUANTIZE, casts of stored weights) are not among them.
        wide_weights: Weighted ops whose stored weights are float32.
        integer_only: Whether no tensor of the whole file is float, inputs and outputs included.
    """

    ops: dict[str, int]
    float_ops: tuple[AuditedOp, ...]
    wide_weights: tuple[AuditedOp, ...]
    integer_only: bool

    @property
    def float_op_counts(self) -> dict[str, int]:
        """How many ops of each kind compute in float, most frequent first."""
        return dict(Counter(op.op for op in self.float_ops).most_common())


def audit_model(model: Path | bytes) -> OpAudit:
    """Reads the ops and types of a TFLite or ONNX file that edgepose wrote.

    Raises:
        ModelError: The file is damaged, or neither TFLite nor ONNX.
    """
    file = ModelFile(Path("model"), model) if isinstance(model, bytes) else ModelFile(model)
    if file.format == "tflite":
        return audit_tflite_graph(read_tflite(file.data))
    if file.format == "onnx":
        import onnx

        loaded = onnx.load_model_from_string(bytes(file.data))
        return audit_onnx_graph(OnnxGraph(onnx.shape_inference.infer_shapes(loaded)))
    raise ModelError(f"{file.name} is a {file.format} model; the op audit reads TFLite and ONNX.")


def refuse_silent_float(audit: OpAudit, recipe: QuantizationRecipe, *, integer_only: bool = False) -> None:
    """Judges an audit against the recipe; ``integer_only``: inputs and outputs must be integers too.

    Raises:
        ModelError: Something is wider than the recipe says, and the recipe does not exclude it.
    """
    excluded = {entry.name for entry in recipe.excluded}
    if recipe.kind == "static":
        left = _not_excluded(audit.float_ops, excluded)
        if left:
            raise ModelError(
                f"Recipe '{recipe.name}' promises integer ops, but {len(left)} stayed in float: "
                f"{_listed(left)}.",
                "Name them under `excluded` with a reason in a recipe file of your own, replace the op in "
                "the model, or use --recipe float16.",
            )
    if recipe.kind != "none":
        wide = _not_excluded(audit.wide_weights, excluded)
        if wide:
            raise ModelError(
                f"Recipe '{recipe.name}' promises {recipe.weight_bits}-bit weights, but {len(wide)} ops keep "
                f"float32 weights: {_listed(wide)}.",
                "Name them under `excluded` with a reason in a recipe file of your own.",
            )
    if (integer_only or recipe.integer_io) and not audit.integer_only:
        raise ModelError(
            "The device needs every op, input and output to be integer, but the file holds float tensors.",
            "Use --recipe static_wi8_ai8_integer_io without exclusions.",
        )


def _not_excluded(ops: tuple[AuditedOp, ...], excluded: set[str]) -> list[AuditedOp]:
    return [op for op in ops if not excluded & {op.name, *op.tensors}]


def _listed(ops: list[AuditedOp]) -> str:
    shown = ", ".join(f"{op.op} '{op.name}'" for op in ops[:_SHOWN])
    return shown if len(ops) <= _SHOWN else f"{shown} and {len(ops) - _SHOWN} more"


def audit_onnx_graph(graph: OnnxGraph) -> OpAudit:
    """Reads every node of the main graph of a view whose sizes are inferred."""
    reader = _QdqReader(graph)
    return OpAudit(
        ops=dict(Counter(node.op_type for node in graph.nodes).most_common()),
        float_ops=tuple(reader.unit(node) for node in graph.nodes if reader.computes_in_float(node)),
        wide_weights=tuple(_entry(node) for node in graph.nodes if reader.stores_float32_weights(node)),
        integer_only=not reader.float_tensors,
    )


def _entry(node: Any) -> AuditedOp:
    return AuditedOp(node.op_type, node.name or node.output[0], tuple(node.output))


class _QdqReader:
    """Which ops compute in float, by who writes and who reads their tensors."""

    def __init__(self, graph: OnnxGraph) -> None:
        from onnx import TensorProto

        float_types = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16}
        self._stored = {name: entry.data_type for name, entry in graph.initializers.items()}
        # Scales are float by definition and say nothing about how an op computes.
        read = {name for node in graph.nodes if node.op_type not in CONVERSIONS for name in node.input}
        self.float_tensors = {
            name
            for name, element in graph.elements.items()
            if element in float_types and (name in read or name not in self._stored)
        }
        self._producer, self._readers = graph.producers, graph.readers
        self._float32, self._int8 = TensorProto.FLOAT, TensorProto.INT8

    def computes_in_float(self, node: Any) -> bool:
        """Whether a node works on values that no DequantizeLinear and QuantizeLinear encloses."""
        casts_stored = node.op_type == "Cast" and node.input[0] in self._stored
        if node.op_type in CONVERSIONS or node.op_type == "Constant" or casts_stored:
            return False
        head = self._fused_head(node)
        if head is not None:
            return self.computes_in_float(head)
        data = [node.input[i] for i in data_positions(node.op_type, len(node.input))]
        if node.op_type in WEIGHTED:
            data = [*data[:2], *(name for name in data[2:] if name not in self._stored)]
        inputs = [name for name in data if name in self.float_tensors]
        outputs = [name for name in node.output if name in self.float_tensors]
        if (inputs or outputs) and node.op_type not in INTEGER_KERNELS:
            return True
        if not all(map(self._is_dequantized, inputs)):
            return True
        # TensorRT's int8 convolutions may write float; files with signed activations are made for it.
        if node.op_type in WEIGHTED and any(map(self._is_signed, inputs)):
            return False
        return not all(map(self._is_quantized, outputs))

    def unit(self, node: Any) -> AuditedOp:
        """What is said about a float node; an activation that is fused with it goes by its names too."""
        names = list(node.output)
        before_it = [self._producer[name] for name in node.input[:1] if name in self._producer]
        for one in (*before_it, *self._readers[node.output[0]]):
            before, after = (one, node) if one in before_it else (node, one)
            if after.op_type in FUSED_ACTIVATIONS and self._is_fused(before, before.output[0]):
                names += [name for name in (one.name, *one.output) if name]
        return AuditedOp(node.op_type, node.name or node.output[0], tuple(names))

    def stores_float32_weights(self, node: Any) -> bool:
        """Whether a weighted node reads float32 weights straight from the file."""
        if node.op_type not in WEIGHTED or len(node.input) < 2:
            return False
        return any(self._stored.get(name) == self._float32 for name in node.input[:2])

    def _is_dequantized(self, name: str) -> bool:
        producer = self._producer.get(name)
        return producer is not None and (
            producer.op_type == "DequantizeLinear" or self._is_fused(producer, name)
        )

    def _is_signed(self, name: str) -> bool:
        """Whether a computed tensor comes from int8, as TensorRT wants it, not from uint8."""
        producer = self._producer.get(name)
        if producer is None or not self._dequantizes_signed(producer):
            return False
        return producer.input[0] not in self._stored

    def _is_fused(self, producer: Any, name: str) -> bool:
        """Whether ``name`` only leads from an op to the activation or addition that is fused with it."""
        readers = self._readers[name]
        if len(readers) != 1 or producer.op_type in CONVERSIONS:
            return False
        if readers[0].op_type in FUSED_ACTIVATIONS:
            return producer.op_type not in FUSED_ACTIVATIONS
        return self._is_fused_sum(producer, readers[0], name)

    def _fused_head(self, node: Any) -> Any | None:
        """The op that an activation is one with."""
        head = self._producer.get(node.input[0]) if node.op_type in FUSED_ACTIVATIONS else None
        return head if head is not None and self._is_fused(head, node.input[0]) else None

    def _is_fused_sum(self, producer: Any, reader: Any, name: str) -> bool:
        """Whether TensorRT adds ``name`` to the other, dequantized summand within the convolution."""
        if reader.op_type != "Add" or producer.op_type not in CONVOLUTIONS:
            return False
        others = [self._producer.get(other) for other in reader.input if other != name]
        sources = [self._producer.get(producer.input[0]), *others]
        return len(others) == 1 and all(map(self._dequantizes_signed, sources))

    def _dequantizes_signed(self, node: Any | None) -> bool:
        if node is None or node.op_type != "DequantizeLinear" or len(node.input) < 3:
            return False
        return bool(self._stored.get(node.input[2]) == self._int8)

    def _is_quantized(self, name: str) -> bool:
        readers = self._readers[name]
        return bool(readers) and (
            all(reader.op_type == "QuantizeLinear" for reader in readers)
            or self._is_fused(self._producer[name], name)
        )


def audit_tflite_graph(graph: Any) -> OpAudit:
    """Reads every op of every subgraph of a view."""
    from ai_edge_litert.schema_py_generated import TensorType

    float_types = {TensorType.FLOAT16, TensorType.FLOAT32, TensorType.FLOAT64, TensorType.BFLOAT16}
    ops: Counter[str] = Counter()
    float_ops: list[AuditedOp] = []
    wide_weights: list[AuditedOp] = []
    for subgraph in graph.subgraphs:
        for op in subgraph.operators:
            name = op_name(graph, op)
            ops[name] += 1
            tensors = [subgraph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
            outputs = tuple(tensor_name(subgraph.tensors[i]) for i in op.outputs)
            entry = AuditedOp(name, outputs[0] if outputs else "", outputs)
            if name not in TFLITE_CONVERSIONS and any(t.type in float_types for t in tensors):
                float_ops.append(entry)
            if _stores_float32_weights(graph, subgraph, op, name):
                wide_weights.append(entry)
    every_tensor = (tensor for subgraph in graph.subgraphs for tensor in subgraph.tensors)
    return OpAudit(
        ops=dict(ops.most_common()),
        float_ops=tuple(float_ops),
        wide_weights=tuple(wide_weights),
        integer_only=not any(tensor.type in float_types for tensor in every_tensor),
    )


def _stores_float32_weights(graph: Any, subgraph: Any, op: Any, name: str) -> bool:
    from ai_edge_litert.schema_py_generated import TensorType

    position = TFLITE_WEIGHTS.get(name)
    if position is None or op.inputs[position] < 0:
        return False
    tensor = subgraph.tensors[op.inputs[position]]
    data = graph.buffers[tensor.buffer].data
    return bool(tensor.type == TensorType.FLOAT32 and data is not None and len(data))
