"""Holds a converted model's outputs against its parent's, and refuses silent damage.

A converter that ends without an error proves nothing: one well-known route gives a SimCC head whose output
has correlation 0.17 with its parent and looks entirely healthy.

They are compared on drawn figures of persons who do not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.models.artifact import ModelArtifact
from edgepose.host.models.drawn_frames import drawn_frames
from edgepose.pose.transform import ImageTransform
from edgepose.records.lineage import OutputParity
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.backend import Backend, TensorInfo
from edgepose.runtime.preprocess import Image, Preprocessor, expected_shape

Outputs = dict[str, NDArray[np.float32]]

# A float32 conversion differs by rounding, about 1e-5 of the range; a thousand times that is damage.
MAX_RELATIVE_ERROR = 0.01
MIN_CORRELATION = 0.999
MIN_ARGMAX_AGREEMENT = 0.95
# Below this range an output is constant on these images, and correlation means nothing.
_CONSTANT_RANGE = 1e-12


def match_outputs(
    parent: Outputs, child: Outputs, orders: Mapping[str, tuple[int, ...]] | None = None
) -> dict[str, tuple[str, OutputParity]]:
    """Finds for every output of the parent the child's output that holds the same values.

    Args:
        parent: Name to values (N images, ...) of the parent.
        child: The same of the converted model.
        orders: Per output whose name was kept, the order of its axes (the batch's included), as the converter
            says it; of others every output and order that fits is tried.

    Returns:
        Parent's name to (child's name, parity). Converters rename outputs and move their axes.

    Raises:
        ModelError: An output has no counterpart, or differs.
    """
    refuse_non_finite_outputs(parent)
    refuse_non_finite_outputs(child)
    remaining = dict(child)
    matched: dict[str, tuple[str, OutputParity]] = {}
    for name, values in parent.items():
        known = (orders or {}).get(name) if name in remaining else None
        candidates = [
            (other, order, _compare(name, values, order, remaining[other]))
            for other in (remaining if known is None else [name])
            for order in _axis_orders(values.shape, remaining[other].shape)
            if known is None or order == known
        ]
        if not candidates:
            shapes = ", ".join(str(v.shape[1:]) for v in child.values())
            raise ModelError(
                f"Output '{name}' {values.shape[1:]} has no counterpart in the converted model, "
                f"which has {shapes}."
            )
        # A same name counts when values tie, as all-zero outputs do.
        best = min(
            candidates, key=lambda c: (c[2].max_abs_error, c[0] != name, c[1] != tuple(range(len(c[1]))))
        )
        _refuse_damage(best[2])
        matched[name] = (best[0], best[2])
        del remaining[best[0]]
    return matched


def refuse_non_finite_outputs(outputs: Outputs) -> None:
    """Refuses NaN and infinity.

    Raises:
        ModelError: A value is not finite.
    """
    for name, values in outputs.items():
        if not np.isfinite(values).all():
            raise ModelError(f"Output '{name}' holds NaN or infinite values.", "The model is damaged.")


def _axis_orders(parent_shape: tuple[int, ...], child_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Permutations of the axes after the images' that turn one shape into the other."""
    axes = range(len(parent_shape) - 1)
    sizes, wanted = parent_shape[1:], child_shape[1:]
    if len(sizes) != len(wanted):
        return []
    return [order for order in permutations(axes) if tuple(sizes[axis] for axis in order) == wanted]


def _compare(name: str, parent: NDArray[Any], order: tuple[int, ...], child: NDArray[Any]) -> OutputParity:
    moved = parent.transpose(0, *(axis + 1 for axis in order)).astype(np.float64)
    value_range = float(np.ptp(moved))
    return OutputParity(
        name=name,
        shape=tuple(parent.shape[1:]),
        permutation=order,
        max_abs_error=float(np.abs(moved - child).max()),
        value_range=value_range,
        correlation=_correlation(moved, child, value_range),
        argmax_agreement=_argmax_agreement(parent, order, child),
    )


def _correlation(parent: NDArray[np.float64], child: NDArray[Any], value_range: float) -> float:
    first, second = parent.ravel() - parent.mean(), child.ravel().astype(np.float64) - child.mean()
    norm = float(np.sqrt((first @ first) * (second @ second)))
    if value_range < _CONSTANT_RANGE or norm == 0:
        return 1.0 if np.allclose(parent, child, atol=1e-6) else 0.0
    return float(first @ second / norm)


def _argmax_agreement(parent: NDArray[Any], order: tuple[int, ...], child: NDArray[Any]) -> float | None:
    """Share of equal maxima of (N, 1, K, h, w) maps in the parent's axis order."""
    if parent.ndim != 5 or min(parent.shape[3:]) < 2:
        return None
    back = child.transpose(0, *(1 + position for position in np.argsort(order)))
    maps = parent.shape[:3]
    same = parent.reshape(*maps, -1).argmax(-1) == back.reshape(*maps, -1).argmax(-1)
    return float(same.mean())


def _refuse_damage(parity: OutputParity) -> None:
    relative = parity.max_abs_error / parity.value_range if parity.value_range > _CONSTANT_RANGE else 0.0
    agreement = 1.0 if parity.argmax_agreement is None else parity.argmax_agreement
    if (
        parity.correlation < MIN_CORRELATION
        or relative > MAX_RELATIVE_ERROR
        or agreement < MIN_ARGMAX_AGREEMENT
    ):
        raise ModelError(
            f"The conversion damaged output '{parity.name}': correlation {parity.correlation:.4f}, largest "
            f"error {relative:.2%} of the range; expected at least {MIN_CORRELATION} and at most "
            f"{MAX_RELATIVE_ERROR:.0%}. Nothing was written.",
            "Export the model with simpler ops, or give its Keras or SavedModel source.",
        )


def compared_images() -> list[tuple[Image, NDArray[np.float64]]]:
    """Images with the box (4,) of their figure."""
    frames = drawn_frames("compared").values()
    return [(frame.image, np.asarray(frame.entry.box_xyxy_px, np.float64)) for frame in frames]


def stored_inputs(source: ModelArtifact) -> NDArray[np.float32]:
    """The images as a float32 model takes them, without the batch axis: (N, ...)."""
    spec = source.spec.input
    tensor = TensorInfo(spec.name or "input", expected_shape(spec), np.dtype(np.float32))
    preprocessor = Preprocessor(spec, tensor)
    images = compared_images()
    values = np.empty((len(images), *tensor.shape), np.float32)
    for index, (image, box) in enumerate(images):
        preprocessor.write(image, preprocessor.transform_for(image, box), values[index])
    return values[:, 0]


def run_on_images(backend: Backend, spec: InputSpec) -> dict[str, NDArray[np.float32]]:
    """Runs a loaded model on the images; output name to real values (N, ...).

    Raises:
        ModelError: The model fails, or disagrees with its spec.
    """
    preprocessor = Preprocessor(spec, backend.input)
    collected: dict[str, list[NDArray[np.float32]]] = {info.name: [] for info in backend.outputs}
    for image, box in compared_images():
        _load(backend, preprocessor, image, preprocessor.transform_for(image, box))
        backend.invoke()
        for info, values in zip(backend.outputs, backend.read_outputs(), strict=True):
            collected[info.name].append(info.dequantize(values).copy())
    return {name: np.stack(values) for name, values in collected.items()}


def _load(backend: Backend, preprocessor: Preprocessor, image: Image, transform: ImageTransform) -> None:
    backend.load_input(lambda tensor: preprocessor.write(image, transform, tensor))
