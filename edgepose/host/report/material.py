"""What a report is written from: records, pictures with poses, and the names of data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.deployment_report import DeploymentReport
from edgepose.records.device_status import HealthReport, StatusReport
from edgepose.records.distillation_report import DistillationReport
from edgepose.records.evaluation_report import EvaluatedData, EvaluationReport, GateResult
from edgepose.records.quantization import QuantizationReport
from edgepose.records.record import Record

ReportType = TypeVar("ReportType", bound=Record)
SHORT_DIGEST = 12


@dataclass(frozen=True)
class ReportRecord(Generic[ReportType]):
    """A record.

    Attributes:
        file_name: The name of its file, without its folder.
        sha256: Digest of that file.
        report: What it says.
    """

    file_name: str
    sha256: str
    report: ReportType


@dataclass(frozen=True)
class DeploymentDetails:
    """What a deployment's record holds as plain values.

    Attributes:
        gate: The judgement; None before it ran.
        health: The health check after the installation; None where nothing was installed.
        bundle_version: Version of what was installed.
        model_sha256: Digest of the model that ships.
    """

    gate: GateResult | None
    health: HealthReport | None
    bundle_version: int | None
    model_sha256: str | None


@dataclass(frozen=True)
class TrainingCurve:
    """What ``metrics.jsonl`` beside a training record holds.

    Attributes:
        losses: Step and loss, in order.
        accuracies: Step and AP on the validation pictures, in order.
        unreadable: Lines that are no measurement.
    """

    losses: tuple[tuple[float, float], ...]
    accuracies: tuple[tuple[float, float], ...]
    unreadable: int


@dataclass(frozen=True)
class PosedPicture:
    """A frame with its poses drawn on.

    Attributes:
        frame: Its number, from 0.
        persons: Persons in it.
        jpeg: The picture.
        size_wh: Its width and height in pixels.
    """

    frame: int
    persons: int
    jpeg: bytes
    size_wh: tuple[int, int]


@dataclass(frozen=True)
class Sight:
    """Pictures of a video.

    Attributes:
        video: Its file name.
        poses: File name of the poses.
        frames: Frames in the poses.
        frames_with_poses: Frames with at least one person.
        pictures: In order; empty where nobody was found.
    """

    video: str
    poses: str
    frames: int
    frames_with_poses: int
    pictures: tuple[PosedPicture, ...]


@dataclass(frozen=True)
class ReportMaterial:
    """All of it; records in the order in which they were given.

    Attributes:
        title: Of the page.
        evaluations: Accuracy.
        benchmarks: Latency.
        deployments: What was installed.
        quantizations: How models were quantized.
        distillations: Trainings.
        statuses: What devices say about themselves.
        details: Of the deployments, by digest of the record.
        curves: Of the trainings, by digest of the record; without those that have no log.
        sight: Pictures; None where none were asked for.
        data_names: Name of the data by its whole digest, where somebody gave one.
    """

    title: str
    evaluations: tuple[ReportRecord[EvaluationReport], ...] = ()
    benchmarks: tuple[ReportRecord[BenchmarkReport], ...] = ()
    deployments: tuple[ReportRecord[DeploymentReport], ...] = ()
    quantizations: tuple[ReportRecord[QuantizationReport], ...] = ()
    distillations: tuple[ReportRecord[DistillationReport], ...] = ()
    statuses: tuple[ReportRecord[StatusReport], ...] = ()
    details: Mapping[str, DeploymentDetails] = field(default_factory=dict)
    curves: Mapping[str, TrainingCurve] = field(default_factory=dict)
    sight: Sight | None = None
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
        """What a model file is called; its digest where two share a name or nobody names it."""
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


def _named(material: ReportMaterial) -> Iterator[tuple[str, str]]:
    """Digest and name; the last one counts, and file names tell more than the names of specs."""
    for bench in material.benchmarks:
        yield bench.report.model.sha256, bench.report.model.name
    for record in material.all_evaluations():
        baseline = record.report.baseline
        if baseline is not None:
            yield baseline.sha256, file_name_of(baseline.path)
    for record in material.all_evaluations():
        yield record.report.model.sha256, file_name_of(record.report.model.path)
