"""What a report or a card is written from: records, by the digest of the model that they tell about."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Generic, TypeVar

from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.deployment_report import DeploymentReport
from edgepose.records.device_status import StatusReport
from edgepose.records.distillation_report import DetectorDistillationReport, DistillationReport
from edgepose.records.evaluation_report import DetectorEvaluationReport, EvaluatedData, EvaluationReport
from edgepose.records.lineage import ModelInspection
from edgepose.records.model_card_notes import ModelCardNotes
from edgepose.records.quantization import QuantizationReport
from edgepose.records.record import Record

ReportType = TypeVar("ReportType", bound=Record)
SHORT_DIGEST = 12


@dataclass(frozen=True)
class ReportRecord(Generic[ReportType]):
    """A record, the name of its file without its folder, and the digest of that file."""

    file_name: str
    sha256: str
    report: ReportType


@dataclass(frozen=True)
class TrainingCurve:
    """Figures by step in order, from ``metrics.jsonl`` beside a training record, and lines that are none."""

    losses: tuple[tuple[float, float], ...]
    accuracies: tuple[tuple[float, float], ...]
    unreadable: int


@dataclass(frozen=True)
class DrawnFrame:
    """A frame, by its number from 0, with its poses drawn on."""

    frame: int
    persons: int
    jpeg: bytes
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class DrawnFrames:
    """Frames of a video; ``frames`` and ``frames_with_poses`` count those of the poses file."""

    video: str
    poses: str
    frames: int
    frames_with_poses: int
    shown: tuple[DrawnFrame, ...]


@dataclass(frozen=True)
class ReportInputs:
    """Records in the order in which they were given.

    Attributes:
        curves: Of the trainings, by digest of the record; without those that have no log.
        drawn: Frames of a video; None where none were asked for.
        data_names: Name of the data by its whole digest, where one was given.
    """

    title: str
    evaluations: tuple[ReportRecord[EvaluationReport], ...] = ()
    benchmarks: tuple[ReportRecord[BenchmarkReport], ...] = ()
    deployments: tuple[ReportRecord[DeploymentReport], ...] = ()
    quantizations: tuple[ReportRecord[QuantizationReport], ...] = ()
    distillations: tuple[ReportRecord[DistillationReport], ...] = ()
    statuses: tuple[ReportRecord[StatusReport], ...] = ()
    curves: Mapping[str, TrainingCurve] = field(default_factory=dict)
    drawn: DrawnFrames | None = None
    data_names: Mapping[str, str] = field(default_factory=dict)

    def all_evaluations(self) -> list[ReportRecord[EvaluationReport]]:
        """The given ones, and those inside the training records that no given one repeats."""
        given = [one.report for one in self.evaluations]
        inside = [
            ReportRecord(one.file_name, one.sha256, one.report.evaluation)
            for one in self.distillations
            if one.report.evaluation is not None and one.report.evaluation not in given
        ]
        return [*self.evaluations, *inside]

    def name_of(self, sha256: str) -> str:
        """What a model file is called; its digest where two share a name or none names it."""
        names = dict(_named(self))
        name = names.get(sha256)
        if name is None:
            return f"model {short(sha256)}"
        alone = sum(other == name for other in names.values()) == 1
        return name if alone else f"{name} ({short(sha256)[:8]})"

    def data_in_words(self, data: EvaluatedData) -> str:
        """What accuracy was measured on, as far as the record tells."""
        name = self.data_names.get(data.digest)
        called = f"{name}, data {short(data.digest)}" if name else f"data {short(data.digest)} without a name"
        boxes = {
            "labels": "labelled boxes",
            "detector": "a detector's boxes",
            "whole_image": "whole pictures",
        }
        return f"{called}: {data.persons} persons in {data.images} pictures, {boxes[data.boxes_from]}"


def file_name_of(path: str) -> str:
    """The last part of a path of either kind of system."""
    return PurePosixPath(path.replace("\\", "/")).name or path


def short(digest: str) -> str:
    """The first letters of a digest."""
    return digest[:SHORT_DIGEST]


def _named(inputs: ReportInputs) -> Iterator[tuple[str, str]]:
    """Digest and name; the last one counts, and file names tell more than the names of specs."""
    for bench in inputs.benchmarks:
        yield bench.report.model.sha256, bench.report.model.name
    for record in inputs.all_evaluations():
        baseline = record.report.baseline
        if baseline is not None:
            yield baseline.sha256, file_name_of(baseline.path)
    for record in inputs.all_evaluations():
        yield record.report.model.sha256, file_name_of(record.report.model.path)


@dataclass(frozen=True)
class CardModel:
    """A model file; ``made_from``: digests of what it was converted or quantized from, by its lineage."""

    file_name: str
    inspection: ModelInspection
    made_from: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CardInputs:
    """Model files and their records, in an order that does not depend on the command line."""

    models: tuple[CardModel, ...]
    evaluations: tuple[ReportRecord[EvaluationReport], ...] = ()
    detector_evaluations: tuple[ReportRecord[DetectorEvaluationReport], ...] = ()
    benchmarks: tuple[ReportRecord[BenchmarkReport], ...] = ()
    distillations: tuple[ReportRecord[DistillationReport], ...] = ()
    detector_distillations: tuple[ReportRecord[DetectorDistillationReport], ...] = ()
    notes: ModelCardNotes | None = None
    notes_file: str | None = None
    profiles: tuple[str, ...] = ()

    def name_of(self, sha256: str, path: str) -> str:
        """The file of this digest, as the card calls it."""
        for model in self.models:
            if model.inspection.sha256 == sha256:
                return model.file_name
        return f"{PurePosixPath(path.replace(chr(92), '/')).name} (not in this card)"

    def trainings(self) -> tuple[ReportRecord[Any], ...]:
        """Those of pose models, then those of detectors."""
        return (*self.distillations, *self.detector_distillations)

    def detectors(self) -> list[CardModel]:
        """The files that find persons; they have no accuracy of keypoints."""
        specs = ((model, model.inspection.spec) for model in self.models)
        return [model for model, spec in specs if spec is not None and spec.paradigm == "detector"]

    def all_evaluations(self) -> list[EvaluationReport]:
        """The given ones, and those inside the training records that no given one repeats."""
        found = [record.report for record in self.evaluations]
        known = set(map(_what_was_evaluated, found))
        inside = (record.report.evaluation for record in self.distillations)
        return found + [one for one in inside if one and _what_was_evaluated(one) not in known]


def digests_of(report: Any) -> tuple[str, ...]:
    """The model files that a record was measured on."""
    other: Any = None
    if isinstance(report, EvaluationReport):
        other = report.detector
    elif isinstance(report, DistillationReport) and report.quantization_aware is not None:
        other = report.quantization_aware.model
    return tuple(dict.fromkeys(model.sha256 for model in (report.model, other) if model is not None))


def belongs_to(report: Record, models: tuple[CardModel, ...]) -> list[CardModel]:
    """The files of the card that a record tells about.

    A training record also belongs to what was made from its model without a teacher, and to the other forms
    of one Keras student: its ONNX file is no parent of its TFLite file.
    """
    digests = set(digests_of(report))
    if not isinstance(report, DistillationReport | DetectorDistillationReport):
        return [model for model in models if model.inspection.sha256 in digests]
    named = [model for model in models if model.inspection.sha256 in digests or model.made_from & digests]
    origins = frozenset[str]().union(*(model.made_from for model in named))
    return [model for model in models if model in named or model.made_from & origins]


def _what_was_evaluated(report: EvaluationReport) -> tuple[str | None, ...]:
    detector = None if report.detector is None else report.detector.sha256
    return report.model.sha256, report.dataset.digest, report.dataset.boxes_from, detector
