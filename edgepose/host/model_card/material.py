"""What a card is written from: model files, and the records that belong to them by digest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Generic, TypeVar

from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.distillation_report import DetectorDistillationReport, DistillationReport
from edgepose.records.evaluation_report import DetectorEvaluationReport, EvaluationReport
from edgepose.records.lineage import ModelInspection
from edgepose.records.model_card_notes import ModelCardNotes
from edgepose.records.record import Record

ReportType = TypeVar("ReportType", bound=Record)


@dataclass(frozen=True)
class CardModel:
    """A model file.

    Attributes:
        file_name: Its name, without its folder.
        inspection: What it is.
        made_from: Digests of the files that it was converted or quantized from, by the lineage inside it.
    """

    file_name: str
    inspection: ModelInspection
    made_from: frozenset[str] = frozenset()


@dataclass(frozen=True)
class CardRecord(Generic[ReportType]):
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
class CardMaterial:
    """All of it; the records are in an order that does not depend on the command line.

    Attributes:
        models: The files, in the given order.
        evaluations: Accuracy.
        detector_evaluations: How well detectors find persons.
        benchmarks: Latency.
        distillations: Training of pose models.
        detector_distillations: Training of person detectors.
        notes: What the maintainers say, and the name of their file; None without.
        notes_file: Its name.
        profiles: Ids of the devices that edgepose has profiles for.
    """

    models: tuple[CardModel, ...]
    evaluations: tuple[CardRecord[EvaluationReport], ...] = ()
    detector_evaluations: tuple[CardRecord[DetectorEvaluationReport], ...] = ()
    benchmarks: tuple[CardRecord[BenchmarkReport], ...] = ()
    distillations: tuple[CardRecord[DistillationReport], ...] = ()
    detector_distillations: tuple[CardRecord[DetectorDistillationReport], ...] = ()
    notes: ModelCardNotes | None = None
    notes_file: str | None = None
    profiles: tuple[str, ...] = ()

    def name_of(self, sha256: str, path: str) -> str:
        """The file of this digest, as the card calls it."""
        for model in self.models:
            if model.inspection.sha256 == sha256:
                return model.file_name
        return f"{PurePosixPath(path.replace(chr(92), '/')).name} (not in this card)"

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


def digests_of(report: Record) -> tuple[str, ...]:
    """The model files that a record was measured on."""
    return tuple(dict.fromkeys(_digests(report)))


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


def _digests(report: Record) -> Iterator[str]:
    yield from _DIGESTS[type(report)](report)


def _of_evaluation(report: EvaluationReport) -> Iterator[str]:
    yield report.model.sha256
    if report.detector is not None:
        yield report.detector.sha256


def _of_distillation(report: DistillationReport) -> Iterator[str]:
    yield report.model.sha256
    if report.quantization_aware is not None:
        yield report.quantization_aware.model.sha256


def _of_detector_distillation(report: DetectorDistillationReport) -> Iterator[str]:
    yield report.model.sha256


def _of_detector_evaluation(report: DetectorEvaluationReport) -> Iterator[str]:
    yield report.model.sha256


def _of_benchmark(report: BenchmarkReport) -> Iterator[str]:
    yield report.model.sha256


_DIGESTS: dict[type[Record], Callable[..., Iterator[str]]] = {
    EvaluationReport: _of_evaluation,
    DistillationReport: _of_distillation,
    DetectorDistillationReport: _of_detector_distillation,
    DetectorEvaluationReport: _of_detector_evaluation,
    BenchmarkReport: _of_benchmark,
}


def _what_was_evaluated(report: EvaluationReport) -> tuple[str | None, ...]:
    detector = None if report.detector is None else report.detector.sha256
    return report.model.sha256, report.dataset.digest, report.dataset.boxes_from, detector
