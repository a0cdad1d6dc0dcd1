"""What every codec gives, and the one way to find an output's axes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError

Array = NDArray[np.float32]


@dataclass(frozen=True)
class DecodedPoses:
    """N persons in pixels of the model's input.

    Attributes:
        keypoints_input_px: (N, K, 2).
        keypoint_scores: (N, K).
        scores: (N,).
        boxes_xyxy_input_px: (N, 4), or None where the model gives no box.
    """

    keypoints_input_px: Array
    keypoint_scores: Array
    scores: Array
    boxes_xyxy_input_px: Array | None = None


class KeypointCodec(Protocol):
    """Decodes the outputs of one run."""

    def decode(self, outputs: dict[str, Array]) -> DecodedPoses:
        """Turns real-valued outputs, by name, into persons.

        Raises:
            ModelError: An output is missing, has a wrong shape, or holds NaN.
        """
        ...


def choose_output(outputs: dict[str, Array], name: str | None) -> Array:
    """Returns the named output, or the only one.

    Raises:
        ModelError: It is missing, or there are several and none is named.
    """
    if name is not None and name in outputs:
        return outputs[name]
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    found = ", ".join(f"{key} {value.shape}" for key, value in outputs.items())
    wanted = f"output '{name}'" if name else "one output, or codec.output to name it"
    raise ModelError(f"The codec expects {wanted}; the model has {found}.")


def require_finite(values: Array, what: str) -> None:
    """Refuses NaN and infinity.

    Raises:
        ModelError: A value is not finite.
    """
    # The sum is finite when no value is NaN or infinite, and costs a tenth of isfinite().all(); only when
    # it is not, the values decide, since finite ones may overflow a float32 sum.
    with np.errstate(invalid="ignore", over="ignore"):
        total = values.sum()
    if not np.isfinite(total) and not np.isfinite(values).all():
        raise ModelError(f"The model's {what} hold NaN or infinite values.", "The model is damaged.")


def mean_confident_score(keypoint_scores: Array, floor: float = 0.2) -> Array:
    """Person score: the mean of the keypoint scores above ``floor``, 0 where none is.

    The rescoring of the top-down COCO evaluation (mmpose's ``vis_thr = 0.2``).

    Args:
        keypoint_scores: (N, K).
        floor: Scores at or below are left out.

    Returns:
        (N,) float32.
    """
    counted = keypoint_scores > floor
    total = np.where(counted, keypoint_scores, 0).sum(axis=-1)
    return (total / np.maximum(counted.sum(axis=-1), 1)).astype(np.float32)
