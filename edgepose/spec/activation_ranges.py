"""What a device exports of its calibration: figures per tensor, no picture.

Every figure is over all crops, and there are as many figures after a million crops as after ``FEWEST_CROPS``.
An extreme was still reached in one picture, and figures of a few pictures say more about each of them: fewer
crops are refused on both sides.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from edgepose.errors import ConfigError
from edgepose.spec.records import Record, Sha256

# A floor for privacy, our choice, not a proof; good ranges want more (the recipes draw 64 and up).
FEWEST_CROPS = 16

Count = Annotated[int, msgspec.Meta(ge=0)]
Figures = Annotated[tuple[float, ...], msgspec.Meta(min_length=1)]


class TensorRanges(Record, frozen=True, kw_only=True):
    """One tensor over all crops; each figure once per channel, exact in float64.

    Attributes:
        name: Tensor name in the float file.
        low: Mean over the crops of each crop's smallest value.
        high: Mean over the crops of each crop's greatest value.
        lowest: Smallest value of all crops.
        highest: Greatest value of all crops.
        mean: Mean value.
        mean_square: Mean of the squared values.
        active: Share of values above 0.
        whole_low: Mean over the crops of the smallest value of the whole tensor.
        whole_high: Mean over the crops of the greatest value of the whole tensor.
    """

    name: str
    low: Figures
    high: Figures
    lowest: Figures
    highest: Figures
    mean: Figures
    mean_square: Figures
    active: Figures
    whole_low: float
    whole_high: float

    def __post_init__(self) -> None:
        vectors = (self.low, self.high, self.lowest, self.highest, self.mean, self.mean_square, self.active)
        if len({len(vector) for vector in vectors}) != 1:
            raise ValueError(f"tensor '{self.name}' has figures for unlike numbers of channels")
        whole = (self.whole_low, self.whole_high)
        if not all(math.isfinite(value) for vector in (*vectors, whole) for value in vector):
            raise ValueError(f"tensor '{self.name}' has a figure that is not finite")
        if any(low > high for low, high in zip(self.lowest, self.highest, strict=True)):
            raise ValueError(f"tensor '{self.name}' has a range whose lowest value is above its highest")


class ActivationRanges(Record, frozen=True, kw_only=True):
    """``edgepose-device calibrate --output``.

    Attributes:
        schema: ``edgepose.ranges/1``.
        model_sha256: Digest of the float file that ran.
        model_name: Name in its spec.
        model_version: Version in its spec.
        runtime: Package that ran it.
        runtime_version: Its version.
        frames: Frames that were looked at.
        crops: Crops that were taken in: accepted as a person.
        distinct_crops: How many of them differ; a camera that stands still repeats itself.
        crops_not_accepted: Crops below the spec's ``min_pose_score``, which were left out.
        boxes_from: ``detector``, ``followed`` (the whole picture at first) or ``whole_image``.
        tensors: The input and every float tensor, in the order of the ops.
    """

    schema: Literal["edgepose.ranges/1"] = "edgepose.ranges/1"
    model_sha256: Sha256
    model_name: str
    model_version: str
    runtime: str
    runtime_version: str
    frames: Count
    crops: Count
    distinct_crops: Count
    crops_not_accepted: Count
    boxes_from: Literal["detector", "followed", "whole_image"]
    tensors: Annotated[tuple[TensorRanges, ...], msgspec.Meta(min_length=1)]

    def __post_init__(self) -> None:
        if len({tensor.name for tensor in self.tensors}) != len(self.tensors):
            raise ValueError("tensors must have unlike names")
        if self.distinct_crops > self.crops:
            raise ValueError("distinct_crops must not be above crops")


def require_enough_crops(crops: int, distinct: int, where: str) -> None:
    """Refuses figures of too few pictures.

    Args:
        crops: Crops that were taken in.
        distinct: How many of them differ.
        where: What they come from, for the message.

    Raises:
        ConfigError: Fewer than ``FEWEST_CROPS`` differ.
    """
    if distinct < FEWEST_CROPS:
        raise ConfigError(
            f"{where} gave {crops} crops of a person, {distinct} of them different; expected at least "
            f"{FEWEST_CROPS}: the ranges of fewer pictures would say too much about each of them.",
            "Calibrate on more frames, with people moving in front of the camera.",
        )
