"""Distillation from end to end: who, what they look like to the teacher, training, export, measurement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgepose.host.data.calibration_set import CropSample
from edgepose.host.distill.augmentation import AUGMENTATIONS
from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.host.distill.peers import Share
from edgepose.host.distill.preparation import (
    Prepared,
    describe_data,
    fingerprint,
    prepare,
    require_keras,
    source_text,
    validation_set,
)
from edgepose.host.distill.request import (
    DistillationRequest,
    Observers,
    describe_teacher,
    parents_of,
    versions,
)
from edgepose.host.distill.retraining import answer_to, describe_answer
from edgepose.host.distill.students import STUDENT_SKELETON, student_spec
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model
from edgepose.host.models.inspect import inspect_model
from edgepose.records.distillation_report import DistillationReport, QuantizationAwareTuning, RetrainingAnswer
from edgepose.records.evaluation_report import EvaluationReport
from edgepose.records.files import write_whole
from edgepose.records.model_spec import ModelSpec
from edgepose.records.record import to_json

if TYPE_CHECKING:
    # These import Keras.
    from edgepose.host.distill.peers import Peers
    from edgepose.host.distill.trainer import Trainer
    from edgepose.host.distill.training import TrainingOutcome

_OTHER_VIEWS = 1_000_003


@dataclass(frozen=True, eq=False)
class _Trained:
    """What the training leaves."""

    student: Any
    spec: ModelSpec
    outcome: TrainingOutcome
    precision: str
    parameters: int


def distil(
    request: DistillationRequest, observers: Observers | None = None, peers: Peers | None = None
) -> DistillationReport:
    """Trains a student, writes it and says how good it is.

    The same command again goes on from the last checkpoint in the output folder. With ``peers`` this process
    leads; the others call ``follow``.

    Raises:
        ConfigError: Data, options or an earlier checkpoint cannot be used, or the disk is full.
        ModelError: The teacher is damaged, training diverged, or the conversion damaged the student.
        MissingDependencyError: Keras or TensorFlow is not installed.
    """
    observers = observers or Observers()
    require_keras()
    # Samples are small; OpenCV's own threads would only take cores from the training.
    cv2.setNumThreads(1)
    prepared = prepare(request, observers)
    answer = _answer(request, prepared, observers)
    trained = _learn(prepared, request, observers, peers)
    # Only now: it takes seconds, and wrong data are told at once.
    from edgepose.host.distill.export import export_student

    outcome, parents = trained.outcome, parents_of(prepared.teacher)
    model = export_student(trained.student, trained.spec, parents, request.output, observers.say)
    report = DistillationReport(
        schema="edgepose.distillation/1",
        teacher=describe_teacher(prepared.teacher),
        data=describe_data(prepared),
        options=prepared.options,
        parameters=trained.parameters,
        steps_done=outcome.steps,
        ended_by=outcome.ended_by,
        resumed_from=outcome.resumed_from,
        seconds=outcome.seconds,
        loss=outcome.loss,
        precision=trained.precision,
        workers=1 if peers is None else peers.count,
        versions=versions(),
        model=inspect_model(model),
        evaluation=_evaluate(model, request),
        quantization_aware=_fine_tuned(trained, model, prepared, request, observers),
        retraining=answer,
    )
    write_whole(request.output / "distillation.json", [to_json(report, indent=2).encode()])
    return report


def _answer(
    request: DistillationRequest, prepared: Prepared, observers: Observers
) -> RetrainingAnswer | None:
    if request.retraining is None:
        return None
    answer = answer_to(request.retraining, prepared.data.persons, STUDENT_SKELETON)
    for line in describe_answer(answer):
        observers.say(line)
    return answer


def prepare_samples(request: DistillationRequest, observers: Observers) -> None:
    """Checks everything and fills the sample cache, without the network.

    Raises:
        ConfigError: Data or options cannot be used, or the disk is full.
        ModelError: The teacher is damaged.
    """
    require_keras()
    prepare(request, observers)


def follow(request: DistillationRequest, peers: Peers) -> None:
    """Trains together with the process that called ``distil``, and writes nothing but its sample cache.

    Raises:
        ConfigError: Data or options cannot be used, or are not those of the others.
        ModelError: The teacher is damaged, or training diverged.
    """
    cv2.setNumThreads(1)
    observers = Observers()
    _learn(prepare(request, observers), request, observers, peers)


def _learn(
    prepared: Prepared, request: DistillationRequest, observers: Observers, peers: Peers | None
) -> _Trained:
    from edgepose.host.distill.peers import Alone
    from edgepose.host.distill.trainer import requested_trainer

    peers = peers or Alone()
    trainer, precision = requested_trainer(request, prepared.design)
    spec = student_spec(prepared.design, request.licence, source_text(prepared))
    outcome = _train(trainer, spec, prepared, request, observers, peers)
    student = trainer.averaged_student()
    peers.part()
    return _Trained(student, spec, outcome, precision, trainer.parameters)


def _train(
    trainer: Trainer,
    spec: ModelSpec,
    prepared: Prepared,
    request: DistillationRequest,
    observers: Observers,
    peers: Peers,
) -> TrainingOutcome:
    from edgepose.host.distill.training import Validation, requested_loop

    options = prepared.options
    augmentation = replace(AUGMENTATIONS[options.augmentation], box_scale=spec.input.box_scale)
    share = Share(peers.rank, peers.count)
    made = BatchSettings(options.batch_size, options.seed, augmentation, share=share)
    batches = BatchSource(prepared.cache, prepared.design, made)
    loop = requested_loop(request, options.steps, trainer, batches, _fingerprint(prepared), observers)
    labelled = validation_set(request)
    return loop.run(None if labelled is None else Validation(labelled, spec), peers)


def _fingerprint(prepared: Prepared) -> dict[str, Any]:
    return fingerprint(prepared.options, prepared.data.digest, prepared.teacher)


def _fine_tuned(
    trained: _Trained, model: Path, prepared: Prepared, request: DistillationRequest, observers: Observers
) -> QuantizationAwareTuning | None:
    if request.qat_steps == 0:
        return None
    from edgepose.host.distill.fine_tuning import FineTuning, fine_tune
    from edgepose.host.distill.training import Watchers

    options = prepared.options
    augmentation = replace(AUGMENTATIONS[options.augmentation], box_scale=trained.spec.input.box_scale)
    # Other views than the student has learned from.
    made = BatchSettings(options.batch_size, options.seed + _OTHER_VIEWS, augmentation)
    task = FineTuning(
        student=trained.student,
        design=prepared.design,
        model=model,
        batches=BatchSource(prepared.cache, prepared.design, made),
        crops=tuple(
            CropSample(person.path, "", person.box_xyxy_px.astype(np.float32))
            for person in prepared.data.persons
        ),
        steps=request.qat_steps,
        learning_rate=options.learning_rate,
        fingerprint=_fingerprint(prepared),
        folder=request.output,
        checkpoint_every=request.checkpoint_every,
        validation=validation_set(request),
    )
    return fine_tune(task, Watchers(observers.say, observers.training))


def _evaluate(model: Path, request: DistillationRequest) -> EvaluationReport | None:
    folder = request.validation
    if folder is None or folder.labels is None:
        return None
    return evaluate_model(EvaluationRequest(model=model, annotations=folder.labels, images=folder.images_dir))
