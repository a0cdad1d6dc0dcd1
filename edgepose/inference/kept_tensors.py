"""Opens a float model so that every tensor of a run can be looked at."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from edgepose.errors import ConfigError, ModelError
from edgepose.inference.activation_statistics import RunsAndKeeps
from edgepose.inference.model_file import detect_format


class KeptTensors(RunsAndKeeps, Protocol):
    """A model file that keeps its intermediate tensors.

    Attributes:
        holds_integers: Whether any tensor, stored or computed, stands for real values by integers.
    """

    holds_integers: bool


def open_float_tensors(path: Path) -> KeptTensors:
    """Opens a float model; it takes the memory of all its tensors at once.

    Args:
        path: The file, which loads (it was opened by a backend before).

    Raises:
        ConfigError: The format cannot be run.
        ModelError: The model is quantized, so the ranges of its tensors are cut off already.
    """
    model_format = detect_format(path)
    tensors: KeptTensors
    if model_format == "tflite":
        from edgepose.inference.backends.litert_tensors import TfliteTensors

        tensors = TfliteTensors(path)
    elif model_format == "onnx":
        from edgepose.inference.backends.onnxruntime_tensors import OnnxTensors

        tensors = OnnxTensors(path)
    else:
        raise ConfigError(
            f"{path} is a {model_format} model; the runtimes here load TFLite and ONNX.",
            "Run: edgepose convert MODEL --to tflite -o OUT",
        )
    if tensors.holds_integers:
        raise ModelError(
            f"{path.name} is quantized; ranges are set by the float model that it was made from.",
            "Give the float file with --model, or install a float bundle.",
        )
    return tensors
