"""ONNX: onnxruntime's quantizer in QDQ form, dynamic quantization, and float16."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.errors import ConfigError, MissingDependencyError, ModelError
from edgepose.host.quantize.onnx_float16 import compute_in_float16, store_weights_as_float16
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.host.quantize.tflite_quantizer import Progress
from edgepose.spec.recipe import QuantizationRecipe

# DequantizeLinear has one scale per channel from this opset on.
_PER_CHANNEL_OPSET = 13
# Ops that only move values; the quantizer leaves them in float unless told.
_LAYOUT_OPS = ("SpaceToDepth", "DepthToSpace", "Flatten", "Expand", "Tile")


def quantize_onnx(
    source: Path, recipe: QuantizationRecipe, inputs: RepresentativeInputs, progress: Progress
) -> bytes:
    """Quantizes a float ONNX model.

    Args:
        source: The float file.
        recipe: ``static``, ``dynamic`` or ``cast``.
        inputs: Input tensors for calibration; only a static recipe reads them.
        progress: Called with (done, total) crops.

    Returns:
        The quantized file. Inputs and outputs keep the parent's names.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        ConfigError: The recipe excludes something that the model does not have, or asks for integer
            inputs and outputs, which a QDQ file does not have.
        ModelError: The quantizer cannot handle the model.
    """
    try:
        import onnx
        import onnxruntime.quantization  # noqa: F401
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            f"{problem.name} is not installed; it is needed to quantize ONNX models.",
            "Run: pip install 'edgepose[convert]'",
        ) from problem
    if recipe.integer_io:
        raise ConfigError(
            f"Recipe '{recipe.name}' asks for integer inputs and outputs; ONNX models keep float ones here.",
            "Use --recipe static_wi8_ai8 or static_wi8_ai8_symmetric.",
        )
    if recipe.kind == "cast":
        model = onnx.load(source)
        _excluded_nodes(model, recipe)
        if recipe.activation_bits == 16:
            return compute_in_float16(model, recipe)
        return store_weights_as_float16(model, recipe)
    with TemporaryDirectory() as folder, _library_log_discarded():
        prepared, target = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        _prepare(source, prepared)
        excluded = _excluded_nodes(onnx.load(prepared), recipe)
        try:
            if recipe.kind == "static":
                _quantize_static(prepared, target, recipe, _Reader(inputs, progress), excluded)
            else:
                _quantize_dynamic(prepared, target, recipe, excluded)
        except (ValueError, RuntimeError, LookupError, NotImplementedError, AttributeError) as problem:
            reason = (str(problem).strip().splitlines() or [repr(problem)])[0].rstrip(".")
            raise ModelError(
                f"onnxruntime cannot apply recipe '{recipe.name}' to {source.name}: {reason}."
            ) from problem
        return _without_tool_traces(target)


class _Reader:
    """Calibration inputs as onnxruntime's quantizer asks for them."""

    def __init__(self, inputs: RepresentativeInputs, progress: Progress) -> None:
        self._inputs, self._progress = inputs, progress
        self.rewind()

    def rewind(self) -> None:
        """Starts again from the first crop."""
        self._iterator, self._done = iter(self._inputs), 0

    def get_next(self) -> dict[str, Any] | None:
        """The next feed, or None after the last."""
        values = next(self._iterator, None)
        if values is None:
            return None
        self._done += 1
        self._progress(self._done, len(self._inputs))
        return {self._inputs.tensor_name: values}


def _prepare(source: Path, target: Path) -> None:
    """Fuses batch normalization and infers shapes, which quantization needs."""
    import onnx
    from onnxruntime.quantization.shape_inference import quant_pre_process

    model = onnx.load(source)
    opset = max(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
    if opset < _PER_CHANNEL_OPSET:
        source = target.with_name("upgraded.onnx")
        onnx.save(onnx.version_converter.convert_version(model, _PER_CHANNEL_OPSET), source)
    # Symbolic inference is for dynamic shapes; edgepose fixes every size.
    quant_pre_process(source, target, skip_symbolic_shape=True)


def _quantize_static(
    source: Path, target: Path, recipe: QuantizationRecipe, reader: _Reader, excluded: list[str]
) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    CalibrationDataReader.register(_Reader)
    quantize_static(
        source,
        target,
        reader,
        quant_format=QuantFormat.QDQ,
        op_types_to_quantize=sorted({*QLinearOpsRegistry, *QDQRegistry, *_LAYOUT_OPS}),
        per_channel=recipe.per_channel,
        # Signed is what TensorRT wants, with zero point 0. For everything else unsigned: ONNX Runtime fuses
        # all ops then, and on x86 leaves a third of the signed ones in float.
        activation_type=QuantType.QInt8 if recipe.symmetric_activations else QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=excluded,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={
            # All crops are merged in one step, so this is their plain mean.
            "CalibMovingAverage": recipe.range_method == "average",
            "ActivationSymmetric": recipe.symmetric_activations,
            "WeightSymmetric": True,
            # Ops such as MaxPool or Transpose would otherwise stay float before the first convolution.
            "ForceQuantizeNoInputCheck": True,
        },
    )


def _quantize_dynamic(source: Path, target: Path, recipe: QuantizationRecipe, excluded: list[str]) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    has_convolution = any(node.op_type == "Conv" for node in onnx.load(source).graph.node)
    if recipe.per_channel and has_convolution:
        raise ModelError(
            f"Recipe '{recipe.name}' asks for one weight scale per channel; onnxruntime's dynamic "
            "convolution has one per tensor and says nothing (measured on TinyPose-256: 0 AP).",
            "Use --recipe static_wi8_ai8 or float16 for ONNX models.",
        )
    # onnxruntime's ConvInteger kernel takes unsigned weights only.
    quantize_dynamic(
        source,
        target,
        per_channel=recipe.per_channel,
        weight_type=QuantType.QUInt8,
        nodes_to_exclude=excluded,
    )


def _excluded_nodes(model: Any, recipe: QuantizationRecipe) -> list[str]:
    """The names of the nodes that the recipe excludes by their own or by an output tensor's name."""
    nodes = list(model.graph.node)
    names = []
    for excluded in recipe.excluded:
        found = [node.name for node in nodes if excluded.name in {node.name, *node.output}]
        if not found:
            raise ConfigError(
                f"Recipe '{recipe.name}' excludes '{excluded.name}', which is neither a node nor a tensor "
                "that a node writes in this model.",
                "`edgepose quantize --explain` lists the tensor names.",
            )
        names.extend(found)
    return names


def _without_tool_traces(path: Path) -> bytes:
    """The file without the quantizer's own notes, which say nothing about the model."""
    import onnx

    model = onnx.load(path)
    kept = [entry for entry in model.metadata_props if entry.key != "onnx.infer"]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    return bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _library_log_discarded() -> Iterator[None]:
    """The quantizer warns through the root logger about steps that were taken already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
