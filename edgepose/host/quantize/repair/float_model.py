"""A float model under repair, in the format of the device: TFLite or ONNX, behind one interface."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.models.audit import OpAudit, audit_model
from edgepose.host.models.tflite_view import first_signature, read_tflite
from edgepose.host.quantize.onnx_quantizer import prepare_onnx, quantize_onnx_with_ranges
from edgepose.host.quantize.repair import exact_input, exact_input_onnx, onnx_network, tflite_network
from edgepose.host.quantize.repair.exact_input import ExactInput
from edgepose.host.quantize.repair.network import Network
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.host.quantize.tflite_quantizer import quantize_tflite
from edgepose.records.lineage import QuantizationRecipe
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.activation_statistics import KeptTensors, open_float_tensors
from edgepose.runtime.model_file import ModelFile, as_model_file

Constants = Mapping[str, NDArray[np.float32]]


def open_kept(model: FloatModel) -> KeptTensors:
    """Opens a model so that all its tensors can be looked at."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "float"
        path.write_bytes(model.data)
        return open_float_tensors(path)


class TfliteFloat:
    """A float TFLite model."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @classmethod
    def of_file(cls, source: Path | ModelFile) -> TfliteFloat:
        """Reads a float file; every op gets stored operands of its own."""
        graph = read_tflite(as_model_file(source).data)
        first_signature(graph)
        tflite_network.split_shared_constants(graph)
        return cls(_pack(graph))

    @cached_property
    def network(self) -> Network:
        """What the repair works on."""
        return tflite_network.read_network(read_tflite(self._data))

    @property
    def data(self) -> bytes:
        """The file."""
        return self._data

    def with_constants(self, constants: Constants) -> TfliteFloat:
        """The same model with other stored values."""
        graph = read_tflite(self._data)
        tflite_network.write_constants(graph, dict(constants))
        return TfliteFloat(_pack(graph))

    def with_pixels_on_grid(
        self, spec: InputSpec, *, symmetric: bool
    ) -> tuple[TfliteFloat, ExactInput] | None:
        """The same model with its input on the int8 grid; None where its front is not understood."""
        graph = read_tflite(self._data)
        found = exact_input.put_pixels_on_grid(graph, spec, symmetric=symmetric)
        return None if found is None else (TfliteFloat(_pack(graph)), found)

    def ops_writing(self, tensor: str) -> tuple[str, ...]:
        """What a recipe must exclude so that the op behind a tensor stays in float: its output."""
        return (tensor,)

    def quantized(self, recipe: QuantizationRecipe, ranges: TensorRanges) -> bytes:
        """The int8 file, by ai-edge-quantizer."""
        return quantize_tflite(self._data, recipe, ranges)

    def audit(self, quantized: bytes) -> OpAudit:
        """Which ops of an int8 file compute in float."""
        return audit_model(quantized)


def _pack(graph: Any) -> bytes:
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))


class OnnxFloat:
    """A float ONNX model (``ModelProto``), prepared for quantization and not changed from here on."""

    def __init__(self, model: Any) -> None:
        self._model = model

    @classmethod
    def of_file(cls, path: Path) -> OnnxFloat:
        """Reads and prepares a float file."""
        model = prepare_onnx(path)
        onnx_network.split_shared_constants(model)
        return cls(model)

    @cached_property
    def network(self) -> Network:
        """What the repair works on."""
        return onnx_network.read_network(self._model)

    @property
    def data(self) -> bytes:
        """The file."""
        return bytes(self._model.SerializeToString(deterministic=True))

    def _copy(self) -> Any:
        copy = type(self._model)()
        copy.CopyFrom(self._model)
        return copy

    def with_constants(self, constants: Constants) -> OnnxFloat:
        """The same model with other stored values."""
        model = self._copy()
        onnx_network.write_constants(model, constants)
        return OnnxFloat(model)

    def with_pixels_on_grid(self, spec: InputSpec, *, symmetric: bool) -> tuple[OnnxFloat, ExactInput] | None:
        """The same model with its input on the int8 grid; None where its front is not understood."""
        model = self._copy()
        found = exact_input_onnx.put_pixels_on_grid(model, spec, symmetric=symmetric)
        return None if found is None else (OnnxFloat(model), found)

    def ops_writing(self, tensor: str) -> tuple[str, ...]:
        """What a recipe must exclude: an activation and the op that it is fused with are two nodes here."""
        producers = {name: node for node in self._model.graph.node for name in node.output}
        node = producers.get(tensor)
        if node is not None and node.op_type in {"Relu", "Clip"} and node.input[0] in producers:
            return (tensor, node.input[0])
        return (tensor,)

    def quantized(self, recipe: QuantizationRecipe, ranges: TensorRanges) -> bytes:
        """The int8 file in QDQ form."""
        return quantize_onnx_with_ranges(self._model, recipe, ranges)

    def audit(self, quantized: bytes) -> OpAudit:
        """Which ops of an int8 file compute in float."""
        return audit_model(quantized)


FloatModel = TfliteFloat | OnnxFloat
