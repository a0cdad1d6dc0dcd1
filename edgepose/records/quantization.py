"""What ``edgepose quantize`` reports, what a data folder holds, and what a device's calibration exports.

An export has figures per tensor and no image: as many after a million crops as after ``FEWEST_CROPS``. An
extreme was still reached in one image, and figures of a few images say more about each of them, so fewer
crops are refused on both sides.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from edgepose.errors import ConfigError
from edgepose.records.accelerator import DelegateReport
from edgepose.records.lineage import ModelInspection, QuantizationRecipe
from edgepose.records.record import Record, Sha256


class DataFolderCounts(Record, frozen=True, kw_only=True):
    """What a data folder holds.

    Attributes:
        images: Usable images.
        unreadable: Files named like images that cannot be decoded.
        other_files: Files that are neither images nor the labels.
        exact_duplicates: Images beyond the first of each content.
        has_labels: Whether there is an annotations file.
        labels_without_image: Labels whose image is missing.
        images_without_label: Images that no label mentions.
    """

    images: int
    unreadable: int
    other_files: int
    exact_duplicates: int
    has_labels: bool
    labels_without_image: int
    images_without_label: int


class CalibrationReport(Record, frozen=True, kw_only=True):
    """The data that set the ranges.

    Attributes:
        digest: sha256 over the sorted digests of the images that calibrated.
        images: Number of images drawn to calibrate.
        crops: Number of crops drawn to calibrate.
        held_out_crops: Crops of other images, used to compare float and quantized model.
        selection_crops: Crops that chose between repairs; 0 where nothing was searched.
        boxes_from: ``labels``, ``detector`` or ``whole_image``.
        seed: Seed of the draw.
        audit: What the folder holds.
    """

    digest: str
    images: int
    crops: int
    held_out_crops: int
    selection_crops: int
    boxes_from: str
    seed: int
    audit: DataFolderCounts


class TensorError(Record, frozen=True, kw_only=True):
    """How far one tensor of the quantized model is from the float parent's.

    Attributes:
        name: Tensor name in the float parent.
        op: Op that writes it.
        sqnr_db: Signal to quantization noise in decibels; None where the tensors are equal.
        relative_error: Root of noise power over signal power; None where the signal is all zero.
        range_low: Smallest value seen in the float parent.
        range_high: Largest value seen in the float parent.
        channel_range_ratio: Range of the widest channel over the median channel's; None where the
            tensor has no channel axis.
        starved_channels: Channels whose whole range is under 8 of the 256 steps that the tensor has.
    """

    name: str
    op: str
    sqnr_db: float | None
    relative_error: float | None
    range_low: float
    range_high: float
    channel_range_ratio: float | None
    starved_channels: int


class RepairStep(Record, frozen=True, kw_only=True):
    """One candidate of the repair.

    Attributes:
        name: What was tried.
        agreement_oks: Mean OKS with the float model on the selection crops (a detector: one minus the
            relative error of its outputs); None where the candidate could not be quantized.
        kept: Whether it was the best until then.
    """

    name: str
    agreement_oks: float | None
    kept: bool


class LayerSensitivity(Record, frozen=True, kw_only=True):
    """What rounding one layer alone costs, everything else in float.

    Attributes:
        layer: The tensor that the layer writes.
        op: Op that writes it; ``input`` where it is the model's input.
        oks_loss: 1 less the mean OKS between the keypoints of both models (a detector: less the mean best
            IoU of the boxes); None where the float model finds nothing to compare.
        sqnr_db: Signal to noise of the worst output in decibels; None where all outputs are equal.
    """

    layer: str
    op: str
    oks_loss: float | None
    sqnr_db: float | None


class Culprit(Record, frozen=True, kw_only=True):
    """A tensor that int8 hurts, and why.

    Attributes:
        tensor: Its name in the float model.
        op: Op that writes it.
        kind: ``outlier_channel``: few channels set the scale of all; ``dead_range``: most of the range is
            hardly used; ``shared_scale``: tensors of unlike ranges are joined under one scale;
            ``unsupported_op``: stays in float; ``sensitive``: none of these, and yet it costs.
        reason: The same in words, with figures.
        oks_loss: What rounding the layer alone costs; None where not measured.
        sqnr_db: Signal to noise of the worst output then; None where not measured.
    """

    tensor: str
    op: str
    kind: Literal["outlier_channel", "dead_range", "shared_scale", "unsupported_op", "sensitive"]
    reason: str
    oks_loss: float | None = None
    sqnr_db: float | None = None


class QuantizationReport(Record, frozen=True, kw_only=True):
    """``edgepose quantize --json``.

    Attributes:
        model: The record of ``models inspect`` for the written file.
        recipe: The recipe that was used.
        calibration: The data; None for a recipe that needs none.
        tensor_errors: Worst first; empty where not asked for.
        agreement_oks: Mean OKS with the float parent on held-out crops; None where not measured.
        agreement_crops: Number of crops behind ``agreement_oks``.
        seconds: Duration of the whole call.
        repair: Every candidate of the repair, in order; empty where the recipe was given.
        culprits: What plain int8 hurts and why, worst first.
        layers: Layers of the float model that were rounded alone, worst first; the suspects, or all.
        delegate_check: What the device's delegate takes of the file; None where there is no rule to check.
        schema: Name and version of this record.
    """

    model: ModelInspection
    recipe: QuantizationRecipe
    calibration: CalibrationReport | None
    tensor_errors: tuple[TensorError, ...]
    agreement_oks: float | None
    agreement_crops: int
    seconds: float
    repair: tuple[RepairStep, ...] = ()
    culprits: tuple[Culprit, ...] = ()
    layers: tuple[LayerSensitivity, ...] = ()
    delegate_check: DelegateReport | None = None
    schema: str = "edgepose.quantization/1"


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
        boxes_from: ``detector``, ``followed`` (the whole image at first) or ``whole_image``.
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
    """Refuses figures of too few images.

    Raises:
        ConfigError: Fewer than ``FEWEST_CROPS`` differ.
    """
    if distinct < FEWEST_CROPS:
        raise ConfigError(
            f"{where} gave {crops} crops of a person, {distinct} of them different; expected at least "
            f"{FEWEST_CROPS}: the ranges of fewer pictures would say too much about each of them.",
            "Calibrate on more frames, with people moving in front of the camera.",
        )
