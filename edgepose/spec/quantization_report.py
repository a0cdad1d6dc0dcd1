"""What ``edgepose quantize`` reports, and what a data folder holds."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.delegate_report import DelegateReport
from edgepose.spec.model_report import ModelInspection
from edgepose.spec.recipe import QuantizationRecipe
from edgepose.spec.records import Record


class DataFolderCounts(Record, frozen=True, kw_only=True):
    """What a data folder holds.

    Attributes:
        images: Usable pictures.
        unreadable: Files named like pictures that cannot be decoded.
        other_files: Files that are neither pictures nor the labels.
        exact_duplicates: Pictures beyond the first of each content.
        has_labels: Whether there is an annotations file.
        labels_without_image: Labels whose picture is missing.
        images_without_label: Pictures that no label mentions.
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
        digest: sha256 over the sorted digests of the pictures that calibrated.
        images: Number of pictures drawn to calibrate.
        crops: Number of crops drawn to calibrate.
        held_out_crops: Crops of other pictures, used to compare float and quantized model.
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
