"""What rounding one layer alone costs on the task itself, without labels, one layer after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.evaluate.agreement import best_oks
from edgepose.host.quantize.diagnosis.fake_quantization import RoundableModel, int8_scale, rounded_weights
from edgepose.host.quantize.diagnosis.layers import Layer, Subject, layers_of
from edgepose.pose.boxes import iou_matrix
from edgepose.pose.poses import Poses
from edgepose.records.model_spec import ModelSpec
from edgepose.records.quantization import LayerSensitivity
from edgepose.runtime.backend import Backend, real_outputs
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.pipeline import PersonDetector, PosePipeline, confident

Outputs = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Loss:
    """How far a changed model is from its parent.

    Attributes:
        task: 1 less the mean OKS of the keypoints, or the mean best IoU of a detector's boxes; None where
            the parent finds nothing to compare.
        sqnr_db: Signal to noise of the worst output; None where all outputs are equal.
    """

    task: float | None
    sqnr_db: float | None


@dataclass(frozen=True)
class _Seen:
    """What a model says about one crop."""

    found: Any
    outputs: Outputs


class TaskLoss:
    """Compares models with one parent, which runs once; the images stay in memory, so give a few.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: The model failed, or it disagrees with the spec.
    """

    def __init__(self, parent: Backend, spec: ModelSpec, crops: Sequence[CropSample]) -> None:
        self._spec = spec
        self._pictures = [(read_image_rgb(crop.image_path), crop.box_xyxy_px) for crop in crops]
        self._expected = self._look(parent)

    def of(self, changed: Backend) -> Loss:
        """Runs a changed model on the same crops.

        Raises:
            ModelError: It failed, or gives values that are not finite.
        """
        alike: list[float] = []
        signal: dict[str, float] = {}
        noise: dict[str, float] = {}
        for expected, actual, (_, box) in zip(
            self._expected, self._look(changed), self._pictures, strict=True
        ):
            alike.extend(self._likeness(expected.found, actual.found, box))
            for name, values in expected.outputs.items():
                exact = values.astype(np.float64)
                signal[name] = signal.get(name, 0.0) + float(np.square(exact).sum())
                error = float(np.square(exact - actual.outputs[name]).sum())
                noise[name] = noise.get(name, 0.0) + error
        ratios = [max(signal[name], 1e-30) / noise[name] for name in signal if noise[name] > 0]
        return Loss(
            task=1.0 - float(np.mean(alike)) if alike else None,
            sqnr_db=10.0 * math.log10(min(ratios)) if ratios else None,
        )

    def _look(self, backend: Backend) -> list[_Seen]:
        seen = []
        if self._spec.paradigm == "detector":
            detector = PersonDetector(backend, self._spec)
            for image, _ in self._pictures:
                boxes, _ = detector.detect(image)
                seen.append(_Seen(boxes, real_outputs(backend)))
            return seen
        pipeline = PosePipeline(backend, self._spec)
        for image, box in self._pictures:
            poses = pipeline.estimate(image, None if box is None else np.asarray(box, np.float64)[None])
            seen.append(_Seen(poses, real_outputs(backend)))
        return seen

    def _likeness(self, expected: Any, actual: Any, box: NDArray[np.floating] | None) -> list[float]:
        if not isinstance(expected, Poses):
            return [float(best) for best in iou_matrix(expected, actual).max(axis=1, initial=0.0)]
        sure = confident(expected, self._spec.min_pose_score)
        return best_oks(sure, actual, box, self._spec.min_pose_score) if len(sure) else []


Progress = Callable[[int, int], None]
# Enough to rank layers; the gate looks at many more.
FEW_CROPS = 8


def measure_sensitivity(
    subject: Subject, model: RoundableModel, layers: Sequence[str], progress: Progress | None = None
) -> tuple[LayerSensitivity, ...]:
    """Rounds one layer at a time, its weights and its output, and compares what it finds on few crops.

    Returns:
        Worst first.

    Raises:
        ConfigError: An image cannot be read.
        ModelError: A model failed.
        ValueError: A layer is not in the network.
    """
    network = model.network
    known = {layer.tensor: layer for layer in layers_of(network, subject.ranges)}
    missing = [name for name in layers if name not in known]
    if missing:
        raise ValueError(f"the network has no layer '{missing[0]}'")
    found = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        task = TaskLoss(_opened(model.changed({}, {}), path), subject.spec, subject.crops[:FEW_CROPS])
        for done, name in enumerate(layers, start=1):
            changed = _with_layer_rounded(model, known[name], subject)
            found.append(_record(known[name], task.of(_opened(changed, path))))
            if progress is not None:
                progress(done, len(layers))
    return tuple(sorted(found, key=_badness))


def _with_layer_rounded(model: RoundableModel, layer: Layer, subject: Subject) -> bytes:
    scale = int8_scale(*subject.ranges[layer.tensor], symmetric=subject.symmetric)
    step = layer.weighted
    constants = {} if step is None else {step.weights: rounded_weights(model.network, step)}
    return model.changed({layer.tensor: scale}, constants)


def _opened(model: bytes, path: Path) -> Backend:
    path.write_bytes(model)
    return open_backend(path)


def _record(layer: Layer, loss: Loss) -> LayerSensitivity:
    return LayerSensitivity(layer=layer.tensor, op=layer.op, oks_loss=loss.task, sqnr_db=loss.sqnr_db)


def _badness(entry: LayerSensitivity) -> tuple[float, float, str]:
    sqnr = math.inf if entry.sqnr_db is None else entry.sqnr_db
    return (-(entry.oks_loss or 0.0), sqnr, entry.layer)
