"""ONNX: int8 in QDQ form by our own placement, dynamic quantization by onnxruntime, and float16."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgepose.errors import ConfigError, MissingDependencyError, ModelError
from edgepose.host.quantize.onnx_float16 import compute_in_float16, store_weights_as_float16
from edgepose.host.quantize.onnx_preparation import prepare_onnx
from edgepose.host.quantize.qdq.writer import Ranges, quantize_with_ranges
from edgepose.spec.recipe import QuantizationRecipe


def quantize_onnx(source: Path, recipe: QuantizationRecipe) -> bytes:
    """Quantizes a float ONNX model without calibration.

    Args:
        source: The float file.
        recipe: ``dynamic`` or ``cast``; a static one goes through ``quantize_onnx_with_ranges``.

    Returns:
        The quantized file. Inputs and outputs keep the parent's names.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
        ConfigError: The recipe excludes something that the model does not have.
        ModelError: The model cannot be prepared, or the quantizer cannot handle it.
    """
    require_onnx_tools()
    if recipe.kind == "cast":
        import onnx

        model = onnx.load(source)
        _excluded_nodes(model, recipe)
        if recipe.activation_bits == 16:
            return compute_in_float16(model, recipe)
        return store_weights_as_float16(model, recipe)
    with _library_log_discarded():
        prepared = prepare_onnx(source)
    _excluded_nodes(prepared, recipe)
    return _quantize_dynamic(prepared, recipe, source.name)


def require_onnx_tools() -> None:
    """Checks that the tools for ONNX are there.

    Raises:
        MissingDependencyError: onnx or onnxruntime is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxruntime.quantization  # noqa: F401
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            f"{problem.name} is not installed; it is needed to quantize ONNX models.",
            "Run: pip install 'edgepose[convert]'",
        ) from problem


def quantize_onnx_with_ranges(prepared: Any, recipe: QuantizationRecipe, ranges: Ranges) -> bytes:
    """Quantizes a prepared model from ranges that are known already.

    Args:
        prepared: What ``prepare_onnx`` gave, perhaps with other constants; it is not changed.
        recipe: A static recipe.
        ranges: Least and greatest value per float tensor, measured on this very model.

    Returns:
        The quantized file.

    Raises:
        ConfigError: The recipe excludes something that the model does not have, or asks for integer
            inputs and outputs, which a QDQ file does not have.
        ModelError: A range is missing or not finite, or no op at all can compute in integers.
    """
    if recipe.integer_io:
        raise ConfigError(
            f"Recipe '{recipe.name}' asks for integer inputs and outputs; ONNX models keep float ones here.",
            "Use --recipe static_wi8_ai8 or static_wi8_ai8_symmetric.",
        )
    _excluded_nodes(prepared, recipe)
    result = quantize_with_ranges(prepared, recipe, ranges)
    if not result.integer_ops:
        reasons = {op.reason for op in result.float_ops}
        raise ModelError(
            f"Recipe '{recipe.name}' leaves every op in float: {'; '.join(sorted(reasons)[:3])}.",
            "Give a float32 model, or use --recipe float16.",
        )
    return result.model


def _quantize_dynamic(prepared: Any, recipe: QuantizationRecipe, source_name: str) -> bytes:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if recipe.per_channel and any(node.op_type == "Conv" for node in prepared.graph.node):
        raise ModelError(
            f"Recipe '{recipe.name}' asks for one weight scale per channel; onnxruntime's dynamic "
            "convolution has one per tensor and says nothing (measured on TinyPose-256: 0 AP).",
            "Use --recipe static_wi8_ai8 or float16 for ONNX models.",
        )
    with TemporaryDirectory() as folder, _library_log_discarded():
        before, after = Path(folder) / "prepared.onnx", Path(folder) / "quantized.onnx"
        onnx.save(prepared, before)
        try:
            # onnxruntime's ConvInteger kernel takes unsigned weights only.
            quantize_dynamic(
                before,
                after,
                per_channel=recipe.per_channel,
                weight_type=QuantType.QUInt8,
                nodes_to_exclude=_excluded_nodes(prepared, recipe),
            )
        except (ValueError, RuntimeError, LookupError, NotImplementedError, AttributeError) as problem:
            reason = (str(problem).strip().splitlines() or [repr(problem)])[0].rstrip(".")
            raise ModelError(
                f"onnxruntime cannot apply recipe '{recipe.name}' to {source_name}: {reason}."
            ) from problem
        return bytes(onnx.load(after).SerializeToString(deterministic=True))


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


@contextlib.contextmanager
def _library_log_discarded() -> Iterator[None]:
    """The quantizer warns through the root logger about steps that were taken already."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
