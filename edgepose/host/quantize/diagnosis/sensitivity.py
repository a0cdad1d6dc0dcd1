"""What rounding one layer alone costs on the task, one layer after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from edgepose.host.quantize.diagnosis.fake_quantization import (
    RoundableModel,
    int8_scale,
    rounded_weights,
)
from edgepose.host.quantize.diagnosis.layers import Layer, layers_of
from edgepose.host.quantize.diagnosis.subject import Subject
from edgepose.host.quantize.diagnosis.task_loss import Loss, TaskLoss
from edgepose.inference.backend import Backend
from edgepose.inference.open_model import open_backend
from edgepose.spec.quantization_report import LayerSensitivity

Progress = Callable[[int, int], None]
# Enough to rank layers; the gate looks at many more.
FEW_CROPS = 8


def measure_sensitivity(
    subject: Subject, model: RoundableModel, layers: Sequence[str], progress: Progress | None = None
) -> tuple[LayerSensitivity, ...]:
    """Rounds one layer at a time, its weights and its output, and compares what the model finds.

    Args:
        subject: The model with its ranges; the first ``FEW_CROPS`` crops are used.
        model: The same model, from ``open_roundable``.
        layers: Tensors of ``layers_of`` to measure.
        progress: Called with (done, total) layers.

    Returns:
        Worst first.

    Raises:
        ConfigError: A picture cannot be read.
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
