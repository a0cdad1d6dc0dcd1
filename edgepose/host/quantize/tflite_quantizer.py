"""TFLite: ai-edge-quantizer for the numbers, a small pass of our own for the tensor names."""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.quantize.representative import RepresentativeInputs
from edgepose.host.quantize.tflite_graph import (
    first_signature,
    read_tflite,
    refuse_unknown_exclusions,
    refuse_weights_beyond_float16,
    with_parent_output_names,
)
from edgepose.spec.recipe import QuantizationRecipe

Progress = Callable[[int, int], None]


def quantize_tflite(
    model: bytes, recipe: QuantizationRecipe, inputs: RepresentativeInputs, progress: Progress
) -> bytes:
    """Quantizes a float TFLite model.

    Args:
        model: The float file.
        recipe: ``static``, ``dynamic`` or ``cast``.
        inputs: Input tensors for calibration; only a static recipe reads them.
        progress: Called with (done, total) crops.

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
    signature, input_name = first_signature(graph)
    plan = _recipe_manager(recipe)
    ranges = None
    with _library_chatter_discarded():
        if recipe.kind == "static":
            merge = _widest if recipe.range_method == "minmax" else _mean
            ranges = _calibrate(model, plan, signature, _counted(inputs, input_name, progress), merge)
        quantized = _quantize(model, plan, ranges, recipe.name)
    return with_parent_output_names(graph, quantized)


def _recipe_manager(recipe: QuantizationRecipe) -> Any:
    """Our recipe in ai-edge-quantizer's words; later rules win over earlier ones there."""
    from ai_edge_quantizer import algorithm_manager, qtyping, recipe_manager

    everything, names = ".*", qtyping.TFLOperationName
    unquantized = algorithm_manager.AlgorithmName.NO_QUANTIZE
    granularity = qtyping.QuantGranularity.CHANNELWISE if recipe.per_channel else _tensorwise()
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


def _tensorwise() -> Any:
    from ai_edge_quantizer import qtyping

    return qtyping.QuantGranularity.TENSORWISE


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


Range = dict[str, Any]
MergeRanges = Callable[[Range, Range], Range]


def _widest(known: Range, new: Range) -> Range:
    """The least and greatest value of all crops."""
    return {"min": np.minimum(known["min"], new["min"]), "max": np.maximum(known["max"], new["max"])}


def _mean(known: Range, new: Range) -> Range:
    """The running mean over the crops of each crop's least and greatest value."""
    crops = known.get("crops", 1) + 1
    merged = {key: known[key] + (new[key] - known[key]) / crops for key in ("min", "max")}
    return {**merged, "crops": crops}


def _calibrate(
    model: bytes,
    plan: Any,
    signature: str,
    inputs: Iterable[dict[str, NDArray[Any]]],
    merge: MergeRanges,
) -> dict[str, Range]:
    """Runs the float model on every input and returns each tensor's range."""
    from ai_edge_quantizer import calibrator

    # The runtime's own profiler tracks the ranges: the same figures as reading every tensor back, in a
    # tenth of the time. The library's own way to merge crops forgets the early ones.
    engine = calibrator.Calibrator(
        model,
        num_threads=1,
        mode=calibrator.CalibrationMode.CALIBRATION_PROFILER_BASED,
        qsv_update_func=merge,
    )
    for values in inputs:
        engine.calibrate({signature: [values]}, plan)
    ranges = {
        name: {key: np.asarray(entry[key], np.float32) for key in ("min", "max")}
        for name, entry in engine.get_model_qsvs().items()
    }
    broken = [name for name, entry in ranges.items() if not all(np.isfinite(v).all() for v in entry.values())]
    if broken:
        raise ModelError(
            f"The float model gives NaN or infinity in tensor '{broken[0]}' ({len(broken)} tensors in all) "
            "on calibration images, so it has no range.",
            "Repair the float model first.",
        )
    return ranges


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


def _counted(
    inputs: RepresentativeInputs, name: str, progress: Progress
) -> Iterator[dict[str, NDArray[Any]]]:
    for done, values in enumerate(inputs, start=1):
        yield {name: values}
        progress(done, len(inputs))


@contextlib.contextmanager
def _library_chatter_discarded() -> Iterator[None]:
    """The library draws a progress bar for every sample and warns of the memory it takes itself."""
    with contextlib.redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def _first_line(problem: Exception) -> str:
    return (str(problem).strip().splitlines() or [repr(problem)])[0].rstrip(".")
