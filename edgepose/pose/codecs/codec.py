"""What every codec gives, and the one way to find an output's axes."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
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
    # The extremes are NaN when any value is, and infinite when any is; they need no memory.
    if values.size and not (isfinite(values.min()) and isfinite(values.max())):
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
    # Plain floats: a dozen numbers a person are summed sooner than numpy is called.
    means, floor = [], float(np.float32(floor))
    for row in keypoint_scores.tolist():
        counted = [score for score in row if score > floor]
        means.append(sum(counted) / len(counted) if counted else 0.0)
    return np.array(means, dtype=np.float32)
