"""The loss of centre maps, in plain Keras ops."""

from __future__ import annotations

from typing import Any

from keras import ops

from edgepose.host.distill.detector.batches import BOX, BOX_WEIGHT, HEAT, HEAT_WEIGHT
from edgepose.pose.codecs.center import LOGIT_SCALE

# CornerNet's penalty-reduced focal loss (Law and Deng 2018, alpha 2, beta 4), as CenterNet uses it.
_FOCUS = 2.0
_SPARED = 4.0
_BOX_SHARE = 2.0
_TINY = 1e-6


def center_loss(packed: Any, maps: Any) -> Any:
    """How wrong centres and boxes are, a person.

    Args:
        packed: (N, h * w, 7) from ``packed_target``.
        maps: (N, h, w, 5) of the student.

    Returns:
        A scalar.
    """
    answers = ops.reshape(ops.cast(maps, "float32"), (ops.shape(packed)[0], ops.shape(packed)[1], 5))
    logits = LOGIT_SCALE * answers[..., 0]
    chance = ops.sigmoid(logits)
    heat, counts = packed[..., HEAT], packed[..., HEAT_WEIGHT]
    here = ops.cast(heat >= 1.0 - _TINY, "float32")
    # log(sigmoid) by softplus stays finite however sure the student is.
    found = here * ops.power(1.0 - chance, _FOCUS) * ops.softplus(-logits)
    others = (1.0 - here) * ops.power(1.0 - heat, _SPARED)
    imagined = others * ops.power(chance, _FOCUS) * ops.softplus(logits)
    apart = ops.sum(ops.abs(answers[..., 1:] - packed[..., BOX]), axis=-1)
    persons = ops.maximum(ops.sum(here), 1.0)
    boxes = ops.sum(packed[..., BOX_WEIGHT] * apart) / ops.maximum(ops.sum(packed[..., BOX_WEIGHT]), 1.0)
    return ops.sum(counts * (found + imagined)) / persons + _BOX_SHARE * boxes
