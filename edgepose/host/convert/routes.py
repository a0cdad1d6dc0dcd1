"""Chooses the way from one format to another and takes it."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.convert.onnx2tf_route import convert_with_onnx2tf
from edgepose.host.convert.onnx_folding import fix_sizes, fold_constants
from edgepose.host.convert.parity import Outputs
from edgepose.host.sources.artifact import ModelArtifact
from edgepose.host.sources.keras_process import read_arrays, run_keras

Say = Callable[[str], None]


@dataclass(frozen=True)
class RouteResult:
    """What a route left in the draft file.

    Attributes:
        route: Its name.
        input_name: Name that the input had in the source.
        tools: Tool name to version.
        note: Why not the first choice; empty otherwise.
        unfinished: Whether names and signature still have to be given.
        parent_outputs: The parent's outputs, where the route ran it; None where a runtime can.
        parent_file: The source with its sizes fixed and nothing else changed; None: the source itself.
    """

    route: str
    input_name: str
    tools: dict[str, str] = field(default_factory=dict)
    note: str = ""
    unfinished: bool = False
    parent_outputs: Outputs | None = None
    parent_file: Path | None = None


def take_route(
    source: ModelArtifact,
    target: Literal["tflite", "onnx"],
    draft: Path,
    inputs: NDArray[np.float32],
    say: Say,
) -> RouteResult:
    """Converts into ``draft`` where there is one way only; ONNX to TFLite has two.

    Raises:
        ConfigError: There is no way.
        MissingDependencyError: A package or tool is not installed.
        ModelError: The model is damaged or unsupported.
    """
    if source.format == "onnx" and target == "onnx":
        return _onnx_to_onnx(source, draft)
    if source.format in {"keras", "keras_h5", "saved_model"} and target == "tflite":
        return _from_keras(source, draft, inputs, say)
    raise ConfigError(
        f"There is no way from {source.format} to {target}; possible are ONNX to TFLite or ONNX, and Keras "
        "or SavedModel to TFLite.",
        "Export the model from its training framework to ONNX.",
    )


def require_float(source: ModelArtifact, target: Literal["tflite", "onnx"]) -> None:
    """Refuses to convert what is quantized already.

    Raises:
        ModelError: The source is no float32 model and is to become TFLite.
    """
    if target == "tflite" and source.precision != "float32":
        raise ModelError(
            f"{source.path.name} is {source.precision}; a conversion to TFLite starts from a float32 model.",
            "Convert the float model that it was made from, and quantize the result.",
        )


def fixed_onnx(source: ModelArtifact, draft: Path) -> Path:
    """The ONNX source with its sizes fixed and nothing else changed, beside the draft.

    Raises:
        ModelError: The model is damaged, or its input is not what the spec says.
        MissingDependencyError: onnx is not installed.
    """
    fixed = draft.with_name("fixed.onnx")
    fix_sizes(source.path, source.spec.input, fixed)
    return fixed


def directly(source: ModelArtifact, fixed: Path, draft: Path) -> RouteResult:
    """ONNX to TFLite by edgepose's own writer: seconds, and a graph that stays NHWC.

    Raises:
        ModelError: An op or attribute cannot be written exactly.
    """
    from edgepose.host.convert.direct.convert import convert_direct

    convert_direct(fixed, draft)
    return RouteResult("direct", _input_name(source), _tools(), parent_file=fixed)


def by_onnx2tf(source: ModelArtifact, fixed: Path, draft: Path, reason: str) -> RouteResult:
    """ONNX to TFLite by onnx2tf.

    Args:
        source: The model.
        fixed: From ``fixed_onnx``.
        draft: File to write.
        reason: Why the direct route was not taken; it goes into the record.

    Raises:
        MissingDependencyError: onnx2tf is not installed.
        ModelError: onnx2tf failed.
    """
    folded = draft.with_name("folded.onnx")
    fold_constants(fixed, folded)
    draft.write_bytes(convert_with_onnx2tf(folded))
    tools = {**_tools(), "onnx2tf": "1.29.24"}
    note = f"direct: {reason}"
    return RouteResult("onnx2tf", _input_name(source), tools, note, unfinished=True, parent_file=fixed)


def _onnx_to_onnx(source: ModelArtifact, draft: Path) -> RouteResult:
    fixed = fixed_onnx(source, draft)
    fold_constants(fixed, draft)
    return RouteResult("onnxruntime", _input_name(source), _tools(), parent_file=fixed)


def _input_name(source: ModelArtifact) -> str:
    from edgepose.host.sources.onnx_contents import read_onnx_contents

    return read_onnx_contents(source.path).inputs[0].name


def _tools() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime")}


def _from_keras(source: ModelArtifact, draft: Path, inputs: NDArray[np.float32], say: Say) -> RouteResult:
    say("converting with TensorFlow ...")
    stored, collected = draft.with_name("inputs.npy"), draft.with_name("outputs.npz")
    np.save(stored, inputs)
    described = run_keras("convert", source.path, (stored,), (draft, collected))
    outputs = read_arrays(collected, source.path.name)
    tools = {"tensorflow": importlib.metadata.version("tensorflow")}
    return RouteResult(
        "tensorflow", described["inputs"][0]["name"], tools, unfinished=True, parent_outputs=outputs
    )
