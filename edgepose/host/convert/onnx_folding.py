"""ONNX to ONNX: every size fixed, constants folded, standard ops only."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.host.sources.locked_loader import LoaderTask, reason_of, run_locked
from edgepose.host.sources.onnx_contents import load_onnx
from edgepose.inference.preprocess import expected_shape
from edgepose.spec.model_spec import InputSpec

_FOLD_WORKER = "edgepose.host.convert.fold_worker"


def fix_sizes(source: Path, spec: InputSpec, output: Path) -> None:
    """Writes a copy whose input has the spec's sizes and batch 1; nothing else changes.

    Args:
        source: The model; it is only read.
        spec: How its input is described.
        output: File to write.

    Raises:
        ModelError: The model is damaged, or its input is not what the spec says.
        MissingDependencyError: onnx is not installed.
    """
    model = load_onnx(source)
    stored = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in stored]
    if len(inputs) != 1:
        raise ModelError(f"{source.name} has {len(inputs)} inputs; a pose model has one.")
    _fix_sizes(inputs[0], spec, source.name)
    output.write_bytes(model.SerializeToString(deterministic=True))


def fold_constants(source: Path, output: Path) -> None:
    """Folds what is constant.

    ONNX Runtime's basic optimizations keep to standard ONNX ops and to the numbers: constant folding,
    removal of dead and identity nodes, batch normalization folded into convolutions.

    Args:
        source: A model of fixed sizes; it is only read.
        output: File to write.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        MissingDependencyError: onnxruntime is not installed.
    """
    fold_locked(source, output)
    _name_open_outputs(output)


def fold_locked(source: Path, output: Path) -> None:
    """Has ONNX Runtime load a model and write it folded, in a process that is locked in.

    Args:
        source: A model without data beside it; it is only read.
        output: File to write.

    Raises:
        ModelError: ONNX Runtime cannot load the model.
        MissingDependencyError: onnxruntime is not installed, or the kernel locks no process in.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise MissingDependencyError(
            "Folding an ONNX model needs onnxruntime.", "Run: pip install 'edgepose[convert]'"
        )
    code, said = run_locked(LoaderTask(_FOLD_WORKER, [str(source.resolve())], source, outputs=(output,)))
    if code:
        raise ModelError(f"The model cannot be loaded by ONNX Runtime: {reason_of(code, said)}.")


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
