"""A detector student from end to end: images, training, export, measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2

from edgepose.host.data.coco import CocoDataset
from edgepose.host.distill.detector_batches import DetectorBatches
from edgepose.host.distill.detector_images import (
    DETECTORS,
    TeachingPictures,
    collect_pictures,
    detector_spec,
    open_pictures,
)
from edgepose.host.distill.preparation import check_request, fingerprint, require_keras, validation_set
from edgepose.host.distill.request import (
    DistillationRequest,
    Observers,
    parents_of,
    run_lines,
    taught_by,
    versions,
)
from edgepose.host.distill.students import StudentDesign, resized
from edgepose.host.evaluate.detector_evaluation import box_figures
from edgepose.host.models.inspect import inspect_model
from edgepose.host.models.locked_backend import open_locked_detector
from edgepose.pose.codecs.center import CHANNELS
from edgepose.records.distillation_report import (
    DetectorData,
    DetectorDistillationReport,
    DetectorOptions,
    DetectorTeacher,
)
from edgepose.records.evaluation_report import DetectorFigures
from edgepose.records.files import write_whole
from edgepose.records.model_spec import ModelSpec
from edgepose.records.record import to_json
from edgepose.runtime.model_file import sha256_of_model
from edgepose.runtime.open_model import RuntimeOptions
from edgepose.runtime.pipeline import PersonDetector
from edgepose.trust.digests import sha256_of_file

if TYPE_CHECKING:
    # These import Keras.
    from edgepose.host.distill.trainer import Trainer
    from edgepose.host.distill.training import TrainingOutcome

_WEAKEST_SCORE = 0.001


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Everything before the first step."""

    design: StudentDesign
    data: TeachingPictures
    teacher: DetectorTeacher | None
    options: DetectorOptions
    spec: ModelSpec


@dataclass(frozen=True, eq=False)
class BoxValidation:
    """Measures a detector student while it learns."""

    dataset: CocoDataset
    spec: ModelSpec

    def figures(self, student: Any) -> dict[str, float | None]:
        """See ``Validates``."""
        from edgepose.host.distill.trainer import KerasBackend

        detector = PersonDetector(KerasBackend(student, "maps"), self.spec, _WEAKEST_SCORE)
        found = box_figures(detector, self.dataset)
        return {"box_ap": found.box_ap, "box_ap50": found.box_ap50, "recall": found.recall}


def distil_detector(
    request: DistillationRequest, observers: Observers | None = None
) -> DetectorDistillationReport:
    """Trains a detector student, writes it and says how good it is.

    The same command again goes on from the last checkpoint in the output folder.

    Raises:
        ConfigError: Data, options or an earlier checkpoint cannot be used, or the disk is full.
        ModelError: The teacher is damaged, training diverged, or the conversion damaged the student.
        MissingDependencyError: Keras or TensorFlow is not installed.
    """
    observers = observers or Observers()
    require_keras()
    cv2.setNumThreads(1)
    prepared = _prepare(request, observers)
    from edgepose.host.distill.detector_batches import center_loss
    from edgepose.host.distill.export import export_student
    from edgepose.host.distill.students import build_student
    from edgepose.host.distill.trainer import requested_trainer

    trainer, precision = requested_trainer(
        request, prepared.design, lambda dtype: build_student(prepared.design, CHANNELS, dtype), center_loss
    )
    labelled = validation_set(request)
    outcome = _train(trainer, prepared, request, observers, labelled)
    student, parents = trainer.averaged_student(), parents_of(prepared.teacher)
    model = export_student(student, prepared.spec, parents, request.output, observers.say)
    images = prepared.data.pictures
    report = DetectorDistillationReport(
        schema="edgepose.detector_distillation/1",
        teacher=prepared.teacher,
        data=DetectorData(
            digest=prepared.data.digest,
            images=len(images),
            images_without_person=sum(not len(image.boxes_px) for image in images),
            persons=prepared.data.persons,
        ),
        options=prepared.options,
        parameters=trainer.parameters,
        steps_done=outcome.steps,
        ended_by=outcome.ended_by,
        seconds=outcome.seconds,
        loss=outcome.loss,
        precision=precision,
        versions=versions(),
        model=inspect_model(model),
        evaluation=_measured_file(model, None, labelled),
        teacher_evaluation=_measured_file(request.teacher, request.teacher_spec, labelled),
    )
    write_whole(request.output / "distillation.json", [to_json(report, indent=2).encode()])
    return report


def summary(report: DetectorDistillationReport, output: Path) -> str:
    """The record in a few lines."""
    lines = run_lines(report, output, f"{report.data.persons} persons in {report.data.images} pictures")
    for who, figures in (("student", report.evaluation), ("teacher", report.teacher_evaluation)):
        if figures is not None:
            values = {"AP": figures.box_ap, "AP50": figures.box_ap50, "recall": figures.recall}
            shown = ", ".join(f"{name} {value:.3f}" for name, value in values.items() if value is not None)
            lines.append(f"  {who} on {figures.persons} other persons: {shown}")
    return "\n".join(lines)


def _prepare(request: DistillationRequest, observers: Observers) -> _Prepared:
    design = DETECTORS[request.student]
    if request.input_wh is not None:
        design = resized(design, request.input_wh)
    check_request(request)
    teacher, described = None, None
    if request.teacher is not None:
        teacher = open_locked_detector(
            request.teacher, request.teacher_spec, RuntimeOptions(request.threads or 1)
        )
        described = DetectorTeacher(file_name=request.teacher.name, sha256=sha256_of_model(request.teacher))
    observers.say("asking the teacher where persons are" if teacher else "reading the labels")
    data = collect_pictures(request.sources, teacher, observers.reading)
    observers.say(f"{data.persons} persons in {len(data.pictures)} pictures")
    steps = request.steps or max(1, math.ceil(request.epochs * len(data.pictures) / request.batch_size))
    options = DetectorOptions(
        student=design.name,
        input_wh=design.input_wh,
        start_sha256=None if request.start is None else sha256_of_file(request.start),
        seed=request.seed,
        steps=steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        labels_only=teacher is None,
    )
    source = f"edgepose distill: {design.name} from {taught_by(described)}, {len(data.pictures)} pictures"
    return _Prepared(design, data, described, options, detector_spec(design, request.licence, source))


def _measured_file(
    model: Path | None, spec_file: Path | None, labelled: CocoDataset | None
) -> DetectorFigures | None:
    if model is None or labelled is None:
        return None
    return box_figures(open_locked_detector(model, spec_file, score_threshold=_WEAKEST_SCORE), labelled)


def _train(
    trainer: Trainer,
    prepared: _Prepared,
    request: DistillationRequest,
    observers: Observers,
    labelled: CocoDataset | None,
) -> TrainingOutcome:
    from edgepose.host.distill.training import requested_loop

    design, options, data = prepared.design, prepared.options, prepared.data
    cache = open_pictures(request.cache or request.output / "cache", data, design, observers.reading)
    batches = DetectorBatches(cache, data, design, options.batch_size, options.seed)
    run = fingerprint(options, data.digest, prepared.teacher)
    loop = requested_loop(request, options.steps, trainer, batches, run, observers)
    return loop.run(None if labelled is None else BoxValidation(labelled, prepared.spec))
