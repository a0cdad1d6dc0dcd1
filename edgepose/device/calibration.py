"""Calibration on the device: the float model runs here, and only figures per tensor leave.

The frames go the very way of ``run`` (source, box, crop, preprocess, model, decode). A crop counts when the
model accepts it as a person; its input tensor then goes through the float model once more, with all tensors
kept, by the one function that the host calibrates with.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import cv2

from edgepose.device.accepted_crops import AcceptedCrops
from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.estimator_choice import ChosenModels, EstimatorChoice, chosen_models
from edgepose.device.frame_estimator import FrameEstimator
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.runtime import LoopControl, Progress, refuse_overwriting, run_source
from edgepose.device.tracking.oks_tracker import OksTracker
from edgepose.errors import ConfigError, ModelError
from edgepose.inference.activation_statistics import StatisticsCollector
from edgepose.inference.backend import BackendInfo, Tensor
from edgepose.inference.kept_tensors import KeptTensors, open_float_tensors
from edgepose.inference.model_digest import sha256_of_model
from edgepose.inference.open_model import open_backend
from edgepose.inference.range_record import to_tensor_ranges
from edgepose.spec.activation_ranges import ActivationRanges, require_enough_crops
from edgepose.spec.records import Record, to_json
from edgepose.spec.whole_file import write_whole

BoxesFrom = Literal["detector", "followed", "whole_image"]


@dataclass(frozen=True)
class CalibrationRequest:
    """What to calibrate.

    Attributes:
        source: SOURCE as typed.
        models: The models; the pose model must be float.
        output: The record to write.
        crops: Ends when so many crops were taken in.
        max_frames: Ends after so many frames; None waits for the crops or the end of the source.
    """

    source: str | SourceAddress
    models: EstimatorChoice
    output: Path
    crops: int
    max_frames: int | None = None


class CalibrationSummary(Record, frozen=True, kw_only=True):
    """``calibrate --json``: what the written record is made of.

    Attributes:
        schema: ``edgepose.calibration/1``.
        source: The source, without a password.
        output: The written record.
        size_bytes: Its size.
        sha256: Its digest.
        model_sha256: Digest of the float model.
        frames: Frames that were looked at.
        crops: Crops that were taken in.
        distinct_crops: How many of them differ.
        crops_not_accepted: Crops below the spec's ``min_pose_score``, which were left out.
        boxes_from: ``detector``, ``followed`` or ``whole_image``.
        tensors: Tensors in the record.
    """

    schema: Literal["edgepose.calibration/1"] = "edgepose.calibration/1"
    source: str
    output: str
    size_bytes: int
    sha256: str
    model_sha256: str
    frames: int
    crops: int
    distinct_crops: int
    crops_not_accepted: int
    boxes_from: BoxesFrom
    tensors: int

    def describe(self) -> str:
        """Two lines for people."""
        return (
            f"{self.source}: {self.crops} crops ({self.distinct_crops} different) from {self.frames} "
            f"frames, {self.crops_not_accepted} not accepted as a person; boxes: {self.boxes_from}.\n"
            f"{self.output}: figures of {self.tensors} tensors, {self.size_bytes / 2**20:.1f} MiB, "
            "no picture."
        )


def calibrate(
    request: CalibrationRequest, stop: Callable[[], bool] = lambda: False, progress: Progress | None = None
) -> CalibrationSummary:
    """Runs the float model on a source and writes the figures of its tensors.

    The same frames give the same bytes on the same machine and runtime. A folder is read in the order of its
    names.

    Raises:
        ConfigError: Source, output or models are not usable, or too few crops were accepted.
        MissingDependencyError: A runtime is missing.
        ModelError: The model is not float, damaged, or gives values that are not finite.
        TrustError: A bundle or an installed model could not be verified.
        DeviceError: A camera or an accelerator failed.
    """
    address = parse_source(request.source)
    refuse_overwriting(request.models, address, (request.output,))
    if not request.output.parent.is_dir():
        raise ConfigError(f"Cannot write {request.output}: its folder does not exist.")
    cv2.setNumThreads(request.models.threads or 1)
    with ExitStack() as opened:
        models = opened.enter_context(chosen_models(request.models))
        crops, estimator, sink, boxes_from = _open(models, request)
        source = open_source(address)
        opened.callback(source.close)
        control = LoopControl(
            stop=lambda: stop() or sink.full,
            progress=lambda _done, _total: (progress or (lambda *_: None))(sink.crops, request.crops),
            max_frames=request.max_frames,
        )
        frames = run_source(source, estimator, OksTracker(), [sink], control).frames
        require_enough_crops(sink.crops, len(sink.digests), source.info.name)
        record = _record(models, crops.backend_info, sink, (frames, crops.not_accepted, boxes_from))
        return _written(record, request.output, source.info.name)


def _open(
    models: ChosenModels, request: CalibrationRequest
) -> tuple[AcceptedCrops, FrameEstimator, _CollectingSink, BoxesFrom]:
    if models.precision == "int8":
        raise ModelError(
            "The model to calibrate is int8; ranges are set by the float model that it was made from.",
            "Give the float file with --model, or install a float bundle.",
        )
    crops = AcceptedCrops(open_backend(models.model, models.options), models.spec)
    tensors = open_float_tensors(models.model)
    detector = models.open_detector()
    if not models.spec.uses_person_boxes:
        boxes_from: BoxesFrom = "whole_image"
    else:
        boxes_from = "followed" if detector is None else "detector"
    return crops, FrameEstimator(crops, detector), _CollectingSink(crops, tensors, request.crops), boxes_from


class _CollectingSink:
    """Takes the accepted crops of every frame in, up to a number."""

    def __init__(self, source: AcceptedCrops, tensors: KeptTensors, most: int) -> None:
        self._source = source
        self._most = most
        self.collector = StatisticsCollector(tensors)
        self.crops = 0
        self.digests: set[bytes] = set()

    @property
    def full(self) -> bool:
        return self.crops >= self._most

    def write(self, _result: FrameResult) -> None:
        for values in self._source.accepted[: self._most - self.crops]:
            self.crops += 1
            self.digests.add(_digest(values))
            self.collector.add(values)

    def close(self, *, complete: bool) -> None:
        """There is nothing to close."""


def _digest(values: Tensor) -> bytes:
    """Stays in memory: it only tells whether a crop was there before."""
    return sha256(values.tobytes()).digest()


def _record(
    models: ChosenModels, info: BackendInfo, sink: _CollectingSink, about: tuple[int, int, BoxesFrom]
) -> ActivationRanges:
    frames, not_accepted, boxes_from = about
    try:
        tensors = to_tensor_ranges(sink.collector.statistics)
    except ValueError as problem:
        raise ModelError(f"{models.model.name} cannot set ranges: {problem}.") from problem
    return ActivationRanges(
        model_sha256=sha256_of_model(models.model),
        model_name=models.spec.name,
        model_version=models.spec.version,
        runtime=info.runtime,
        runtime_version=info.version,
        frames=frames,
        crops=sink.crops,
        distinct_crops=len(sink.digests),
        crops_not_accepted=not_accepted,
        boxes_from=boxes_from,
        tensors=tensors,
    )


def _written(record: ActivationRanges, output: Path, source: str) -> CalibrationSummary:
    content = to_json(record).encode() + b"\n"
    write_whole(output, [content])
    return CalibrationSummary(
        source=source,
        output=str(output),
        size_bytes=len(content),
        sha256=sha256(content).hexdigest(),
        model_sha256=record.model_sha256,
        frames=record.frames,
        crops=record.crops,
        distinct_crops=record.distinct_crops,
        crops_not_accepted=record.crops_not_accepted,
        boxes_from=record.boxes_from,
        tensors=len(record.tensors),
    )
