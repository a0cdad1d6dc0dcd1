"""TFLite: ai-edge-quantizer for the numbers, a small pass of our own for the tensor names."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.models.tflite_view import (
    first_signature,
    read_tflite,
    refuse_unknown_exclusions,
    refuse_weights_beyond_float16,
    with_parent_output_names,
)
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.records.lineage import QuantizationRecipe


def quantize_tflite(model: bytes, recipe: QuantizationRecipe, ranges: TensorRanges | None = None) -> bytes:
    """Quantizes a float TFLite model.

    Args:
        model: The float file.
        recipe: ``static``, ``dynamic`` or ``cast``.
        ranges: Least and greatest value of every float tensor; a static recipe needs them.

    Returns:
        The quantized file. Outputs keep the parent's names.

    Raises:
        MissingDependencyError: ai-edge-quantizer is not installed.
        ConfigError: The recipe excludes something that the model does not have.
        ModelError: The model has no signature, gives NaN, or the quantizer cannot handle it.
    """
    try:
        import ai_edge_quantizer  # noqa: F401
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            "ai-edge-quantizer is not installed; it quantizes TFLite models.",
            "Run: pip install 'edgepose[convert]'",
        ) from problem
    graph = read_tflite(model)
    if recipe.kind == "cast":
        refuse_weights_beyond_float16(graph)
    refuse_unknown_exclusions(graph, recipe)
    first_signature(graph)
    with _library_chatter_discarded():
        found = None if ranges is None else _as_the_library_has_them(ranges)
        quantized = _quantize(model, _recipe_manager(recipe), found, recipe.name)
    return with_parent_output_names(graph, quantized)


def _recipe_manager(recipe: QuantizationRecipe) -> Any:
    """Our recipe in ai-edge-quantizer's words; later rules win over earlier ones there."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    everything, names = ".*", qtyping.TFLOperationName
    unquantized = algorithm_manager.AlgorithmName.NO_QUANTIZE
    granularities = qtyping.QuantGranularity
    granularity = granularities.CHANNELWISE if recipe.per_channel else granularities.TENSORWISE
    plan = recipe_manager.RecipeManager()
    if recipe.kind == "dynamic":
        plan.add_dynamic_config(everything, names.ALL_SUPPORTED, recipe.weight_bits, granularity)
    elif recipe.kind == "cast":
        plan.add_weight_only_config(
            everything,
            names.ALL_SUPPORTED,
            recipe.weight_bits,
            algorithm_key=algorithm_manager.AlgorithmName.FLOAT_CASTING,
        )
    else:
        config = _static_config(recipe, granularity)
        plan.add_quantization_config(everything, names.ALL_SUPPORTED, config)
        for boundary in () if recipe.integer_io else (names.INPUT, names.OUTPUT):
            plan.add_quantization_config(everything, boundary, None, unquantized)
    for excluded in recipe.excluded:
        # An op's scope is the list of its output tensors, each followed by a semicolon.
        scope = f"(^|;){re.escape(excluded.name)};"
        plan.add_quantization_config(scope, names.ALL_SUPPORTED, None, unquantized)
    return plan


def _static_config(recipe: QuantizationRecipe, granularity: Any) -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.OpQuantizationConfig(
        activation_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=recipe.activation_bits, symmetric=recipe.symmetric_activations
        ),
        weight_tensor_config=qtyping.TensorQuantizationConfig(
            num_bits=recipe.weight_bits, symmetric=True, granularity=granularity
        ),
        compute_precision=qtyping.ComputePrecision.INTEGER,
        explicit_dequantize=False,
    )


def _as_the_library_has_them(ranges: TensorRanges) -> dict[str, dict[str, NDArray[np.float32]]]:
    return {
        name: {"min": np.array([low], np.float32), "max": np.array([high], np.float32)}
        for name, (low, high) in ranges.items()
    }


def _quantize(model: bytes, plan: Any, ranges: dict[str, Any] | None, recipe_name: str) -> bytes:
    from ai_edge_quantizer import quantizer

    engine = quantizer.Quantizer(model)
    engine.load_quantization_recipe(plan.get_quantization_recipe())
    try:
        result = engine.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
    except (ValueError, RuntimeError, LookupError, NotImplementedError) as problem:
        raise ModelError(
            f"ai-edge-quantizer cannot apply recipe '{recipe_name}' to this model: {_first_line(problem)}.",
            "Exclude the op it names in a recipe file of your own, or use --recipe float16.",
        ) from problem
    return bytes(result.quantized_model)


@contextlib.contextmanager
def _library_chatter_discarded() -> Iterator[None]:
    """The library draws a progress bar for every sample and warns of the memory it takes itself."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [repr(problem)])[0].rstrip(".")
