"""The pictures on which parent and converted model are compared: drawn figures, nobody's."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgepose.host.sources.artifact import ModelArtifact
from edgepose.host.synthetic.composition import draw_scene
from edgepose.inference.backend import Backend, TensorInfo
from edgepose.inference.preprocess import Image, Preprocessor, expected_shape
from edgepose.pose.transform import ImageTransform
from edgepose.spec.model_spec import InputSpec

PICTURES = 4
_FIRST_SEED = 4000


def comparison_pictures() -> list[tuple[Image, NDArray[np.float64]]]:
    """Pictures with the box (4,) of their figure."""
    scenes = [draw_scene(_FIRST_SEED + index, (256, 320)) for index in range(PICTURES)]
    return [(scene.image, np.asarray(scene.boxes_xyxy_px[0], np.float64)) for scene in scenes]


def stored_inputs(source: ModelArtifact) -> NDArray[np.float32]:
    """The pictures as a float32 model takes them, without the batch axis: (N, ...)."""
    spec = source.spec.input
    tensor = TensorInfo(spec.name or "input", expected_shape(spec), np.dtype(np.float32))
    preprocessor = Preprocessor(spec, tensor)
    values = np.empty((PICTURES, *tensor.shape), np.float32)
    for index, (image, box) in enumerate(comparison_pictures()):
        preprocessor.write(image, preprocessor.transform_for(image, box), values[index])
    return values[:, 0]


def run_on_pictures(backend: Backend, spec: InputSpec) -> dict[str, NDArray[np.float32]]:
    """Runs a loaded model on the pictures; output name to real values (N, ...).

    Raises:
        ModelError: The model fails, or disagrees with its spec.
    """
    preprocessor = Preprocessor(spec, backend.input)
    collected: dict[str, list[NDArray[np.float32]]] = {info.name: [] for info in backend.outputs}
    for image, box in comparison_pictures():
        _load(backend, preprocessor, image, preprocessor.transform_for(image, box))
        backend.invoke()
        for info, values in zip(backend.outputs, backend.read_outputs(), strict=True):
            collected[info.name].append(info.dequantize(values).copy())
    return {name: np.stack(values) for name, values in collected.items()}


def _load(backend: Backend, preprocessor: Preprocessor, image: Image, transform: ImageTransform) -> None:
    backend.load_input(lambda tensor: preprocessor.write(image, transform, tensor))
