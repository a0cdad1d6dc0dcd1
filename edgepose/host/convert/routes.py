"""Chooses the way from one format to another and takes it.

onnx2tf has an environment of its own, in a process that is locked in (ADR 0036). It simplifies its input
file *in place*, so it only ever sees a copy; and it looks for a calibration image that it would download, so
one is laid into its working folder. ONNX to ONNX: every size fixed, constants folded, standard ops only.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, ModelError
from edgepose.host.convert.parity import Outputs, match_outputs
from edgepose.host.models.artifact import ModelArtifact
from edgepose.host.models.locked_backend import LockedBackend
from edgepose.host.models.locked_loader import LoaderTask, reason_of, run_locked
from edgepose.host.models.onnx_view import load_onnx
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import Backend, run_once
from edgepose.runtime.model_file import ModelFile, as_model_file
from edgepose.runtime.preprocess import expected_shape

_DRIVER = Path(__file__).with_name("onnx2tf_driver.py")
_SAMPLE_NAME = "calibration_image_sample_data_20x128x128x3_float32.npy"
_TIMEOUT_S = 1200


def convert_with_onnx2tf(onnx_file: Path) -> bytes:
    """Converts an ONNX file of fixed sizes to float32 TFLite.

    onnx2tf's fast mode is tried first and its result compared with the ONNX file on random values; its
    careful mode, which takes three times as long, only where the fast one fails.

    Returns:
        The bytes of the TFLite file; names and signature still have to be finished.

    Raises:
        MissingDependencyError: The side environment is not prepared.
        ModelError: onnx2tf failed.
    """
    from edgepose.host.tools.installation import tool_python

    # Not resolved: the environment's python is a link to the one that it was made from.
    python = tool_python("onnx2tf").absolute()
    with TemporaryDirectory(prefix="edgepose-onnx2tf-") as folder:
        work = Path(folder)
        copy = work / "model.onnx"
        shutil.copyfile(onnx_file, copy)
        sample = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
        np.save(work / _SAMPLE_NAME, sample)
        try:
            fast = _run_driver(python, copy, work / "fast.tflite", "fast")
            refuse_other_values(onnx_file, fast)
        except ModelError:
            # Not a fallback to something worse: the careful result is compared by the caller as well.
            return _run_driver(python, copy, work / "careful.tflite", "careful").read_bytes()
        return fast.read_bytes()


def refuse_other_values(onnx_file: Path, tflite_file: Path) -> None:
    """Compares both files on two random inputs.

    Raises:
        ModelError: The TFLite file does not load or computes something else.
    """
    parent, child = LockedBackend(onnx_file), LockedBackend(tflite_file)
    stored = np.random.default_rng(0).standard_normal((2, *parent.input.shape), dtype=np.float32)
    moved = stored
    if child.input.shape != parent.input.shape:
        if stored.ndim != 5:
            raise ModelError(f"The input became {child.input.shape}, expected {parent.input.shape}.")
        moved = np.ascontiguousarray(stored.transpose(0, 1, 3, 4, 2))
    match_outputs(_run(parent, stored), _run(child, moved))


def _run(backend: Backend, inputs: NDArray[np.float32]) -> Outputs:
    runs = [run_once(backend, values) for values in inputs]
    names = [info.name for info in backend.outputs]
    return {name: np.stack([run[i] for run in runs]) for i, name in enumerate(names)}


def _run_driver(python: Path, source: Path, output: Path, mode: str) -> Path:
    task = LoaderTask(
        what=str(_DRIVER),
        arguments=[str(source), str(source.with_name(_SAMPLE_NAME)), mode],
        model=source,
        readable=(source.with_name(_SAMPLE_NAME), python.parent.parent, _DRIVER),
        outputs=(output,),
        timeout_s=_TIMEOUT_S,
        changes={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        python=python,
    )
    code, said = run_locked(task)
    if code or output.stat().st_size == 0:
        raise ModelError(f"onnx2tf could not convert the model: {reason_of(code, said)}.")
    return output


def fix_sizes(source: Path | ModelFile, spec: InputSpec, output: Path) -> ModelFile:
    """Fixes every size of the input to the spec's, changes nothing else, and writes ``output``.

    Raises:
        ModelError: The model is damaged, or its input is not what the spec says.
        MissingDependencyError: onnx is not installed.
    """
    source = as_model_file(source)
    model, graph = load_onnx(source)
    inputs = [value for value in model.graph.input if value.name not in graph.initializers]
    if len(inputs) != 1:
        raise ModelError(f"{source.name} has {len(inputs)} inputs; a pose model has one.")
    _fix_sizes(inputs[0], spec, source.name)
    data = model.SerializeToString(deterministic=True)
    output.write_bytes(data)
    return ModelFile(output, data)


def fold_constants(source: Path, output: Path) -> None:
    """Folds what is constant.

    ONNX Runtime's basic optimizations keep to standard ONNX ops and to the numbers: constant folding,
    removal of dead and identity nodes, batch normalization folded into convolutions.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        MissingDependencyError: onnxruntime is not installed.
    """
    from edgepose.host.convert.direct.onnx_import import fold_locked

    fold_locked(source, output)
    _name_open_outputs(output)


def _fix_sizes(value: object, spec: InputSpec, name: str) -> None:
    shape = expected_shape(spec)
    dims = value.type.tensor_type.shape.dim  # type: ignore[attr-defined]
    found = tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)
    fits = len(found) == len(shape) and all(f in {-1, 0, s} for f, s in zip(found, shape, strict=True))
    if not fits:
        raise ModelError(
            f"The spec says input {spec.layout} {shape}, {name} has {found}.",
            "Correct width_px, height_px or layout in the spec.",
        )
    for dim, size in zip(dims, shape, strict=True):
        dim.dim_value = size


def _name_open_outputs(path: Path) -> None:
    """Replaces symbolic output sizes by the inferred ones."""
    import onnx

    model = onnx.load(path)
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=False)
    path.write_bytes(inferred.SerializeToString(deterministic=True))


Say = Callable[[str], None]


@dataclass(frozen=True)
class RouteResult:
    """What a route left in the draft file.

    Attributes:
        input_name: Name that the input had in the source.
        note: Why not the first choice; empty otherwise.
        unfinished: Whether names and signature still have to be given.
        parent_outputs: The parent's outputs, where the route ran it; None where a runtime can.
        parent_file: The source with its sizes fixed and nothing else changed; None: the source itself.
        orders: How the route moved the axes of outputs that it knows: ``new = old.transpose(order)``.
    """

    route: str
    input_name: str
    tools: dict[str, str] = field(default_factory=dict)
    note: str = ""
    unfinished: bool = False
    parent_outputs: Outputs | None = None
    parent_file: Path | None = None
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


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


def fixed_onnx(source: ModelArtifact, draft: Path) -> ModelFile:
    """The ONNX source with its sizes fixed and nothing else changed, beside the draft.

    Raises:
        ModelError: The model is damaged, or its input is not what the spec says.
        MissingDependencyError: onnx is not installed.
    """
    return fix_sizes(source.file, source.spec.input, draft.with_name("fixed.onnx"))


def directly(source: ModelArtifact, fixed: ModelFile, draft: Path) -> RouteResult:
    """ONNX to TFLite by edgepose's own writer: seconds, and a graph that stays NHWC.

    Raises:
        ModelError: An op or attribute cannot be written exactly.
    """
    from edgepose.host.convert.direct.convert import convert_direct

    orders = convert_direct(fixed, draft).output_permutations
    return RouteResult("direct", _input_name(source), _tools(), parent_file=fixed.path, orders=orders)


def by_onnx2tf(source: ModelArtifact, fixed: ModelFile, draft: Path, reason: str) -> RouteResult:
    """ONNX to TFLite by onnx2tf; the record says the ``reason`` against the direct route.

    Raises:
        MissingDependencyError: onnx2tf is not installed.
        ModelError: onnx2tf failed.
    """
    folded = draft.with_name("folded.onnx")
    fold_constants(fixed.path, folded)
    draft.write_bytes(convert_with_onnx2tf(folded))
    tools = {**_tools(), "onnx2tf": "1.29.24"}
    note = f"direct: {reason}"
    return RouteResult("onnx2tf", _input_name(source), tools, note, unfinished=True, parent_file=fixed.path)


def _onnx_to_onnx(source: ModelArtifact, draft: Path) -> RouteResult:
    fixed = fixed_onnx(source, draft)
    fold_constants(fixed.path, draft)
    return RouteResult("onnxruntime", _input_name(source), _tools(), parent_file=fixed.path)


def _input_name(source: ModelArtifact) -> str:
    return source.contents.inputs[0].name


def _tools() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("onnx", "onnxruntime")}


def _from_keras(source: ModelArtifact, draft: Path, inputs: NDArray[np.float32], say: Say) -> RouteResult:
    from edgepose.host.models.keras_intake import read_arrays, run_keras

    say("converting with TensorFlow ...")
    stored, collected = draft.with_name("inputs.npy"), draft.with_name("outputs.npz")
    np.save(stored, inputs)
    described = run_keras("convert", source.path, (stored,), (draft, collected))
    outputs = read_arrays(collected, source.path.name)
    tools = {"tensorflow": importlib.metadata.version("tensorflow")}
    return RouteResult(
        "tensorflow", described["inputs"][0]["name"], tools, unfinished=True, parent_outputs=outputs
    )
