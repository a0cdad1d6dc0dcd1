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
import numpy as np
from numpy.typing import NDArray

from edgepose.device.capture.open_source import open_source
from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.device.output.pose_sink import FrameResult
from edgepose.device.run.estimator_choice import ChosenModels, EstimatorChoice, chosen_models
from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.device.run.loop import LoopControl, Progress, refuse_overwriting, run_source
from edgepose.device.run.tracking import OksTracker
from edgepose.errors import ConfigError, ModelError
from edgepose.pose.poses import Poses
from edgepose.records.files import write_whole
from edgepose.records.model_spec import ModelSpec
from edgepose.records.quantization import ActivationRanges, require_enough_crops
from edgepose.records.record import Record, to_json
from edgepose.runtime.activation_statistics import (
    KeptTensors,
    StatisticsCollector,
    open_float_tensors,
    to_tensor_ranges,
)
from edgepose.runtime.backend import Backend, BackendInfo, Tensor, TensorInfo
from edgepose.runtime.model_file import sha256_of_model
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.pipeline import PosePipeline, are_confident
from edgepose.runtime.preprocess import Image


class AcceptedCrops(PosePipeline):
    """Keeps the input tensors of the last image in which the model sees a person.

    Args:
        backend: The loaded pose model.
        spec: Its spec.

    Attributes:
        accepted: Input tensors of the last image's crops that reach ``min_pose_score``, in the order of the
            boxes; the whole image counts when anybody in it does.
        not_accepted: Number of all others so far.

    Raises:
        ConfigError: The spec's codec gives no keypoints.
        ModelError: Spec and model disagree.
    """

    def __init__(self, backend: Backend, spec: ModelSpec) -> None:
        self._tap = _InputTap(backend)
        super().__init__(self._tap, spec)
        self.accepted: list[Tensor] = []
        self.not_accepted = 0

    def estimate(
        self,
        image: Image,
        boxes_xyxy_px: NDArray[np.floating] | None = None,
        box_scores: NDArray[np.floating] | None = None,
    ) -> Poses:
        """As the pipeline does.

        Raises:
            ModelError: The model failed or gives another output than its spec says.
        """
        self._tap.seen.clear()
        poses = super().estimate(image, boxes_xyxy_px, box_scores)
        persons = are_confident(poses, self.spec.min_pose_score)
        counts = persons if self.spec.uses_person_boxes else np.array([persons.any()])
        self.accepted = [values for values, counted in zip(self._tap.seen, counts, strict=True) if counted]
        self.not_accepted += len(self._tap.seen) - len(self.accepted)
        return poses


class _InputTap:
    """A backend that copies every input it is given."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.seen: list[Tensor] = []

    @property
    def info(self) -> BackendInfo:
        return self._backend.info

    @property
    def input(self) -> TensorInfo:
        return self._backend.input

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        return self._backend.outputs

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        def write_and_copy(tensor: Tensor) -> None:
            write(tensor)
            self.seen.append(tensor.copy())

        self._backend.load_input(write_and_copy)

    def invoke(self) -> None:
        self._backend.invoke()

    def read_outputs(self) -> tuple[Tensor, ...]:
        return self._backend.read_outputs()


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
