"""Distillation from end to end: who, what they look like to the teacher, training, export, measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.data.calibration_set import CropSample
from edgepose.host.data.coco import read_coco
from edgepose.host.distill.augmentation import AugmentationSettings
from edgepose.host.distill.batches import BatchSettings, BatchSource
from edgepose.host.distill.persons import ImageSource, TrainingPersons, collect_persons
from edgepose.host.distill.provenance import AnyTeacher, describe_teacher, parents_of, versions
from edgepose.host.distill.sample_cache import SampleCache, open_cache
from edgepose.host.distill.share import Share
from edgepose.host.distill.students import (
    STUDENT_SKELETON,
    StudentDesign,
    student_named,
    student_spec,
)
from edgepose.host.distill.targets import label_trust
from edgepose.host.distill.teacher import open_teacher
from edgepose.host.evaluate.evaluation import EvaluationRequest, evaluate_model
from edgepose.host.sources.inspect import inspect_model
from edgepose.inference.open_model import RuntimeOptions, open_detector
from edgepose.spec.distillation_report import (
    DistillationData,
    DistillationOptions,
    DistillationReport,
    QuantizationAwareTuning,
)
from edgepose.spec.evaluation_report import EvaluationReport
from edgepose.spec.model_spec import ModelSpec
from edgepose.spec.records import to_builtins, to_json
from edgepose.spec.whole_file import write_whole

if TYPE_CHECKING:
    # These import Keras.
    from edgepose.host.distill.peers import Peers
    from edgepose.host.distill.trainer import Trainer
    from edgepose.host.distill.training import TrainingOutcome

Say = Callable[[str], None]
Progress = Callable[[int, int], None]

_OTHER_VIEWS = 1_000_003


@dataclass(frozen=True)
class DistillationRequest:
    """What to distil.

    Attributes:
        student: Name of the student.
        sources: Folders of pictures.
        output: Folder for model, record, log and checkpoints.
        teacher: The teacher model; None learns from labels alone.
        teacher_spec: Spec of a teacher that carries none.
        detector: Finds persons in folders without labels.
        detector_spec: Spec of a detector that carries none.
        validation: Labelled folder to measure on; never learned from.
        epochs: Passes over the persons, where ``steps`` is not given.
        steps: Steps of training.
        batch_size: Samples a step.
        learning_rate: Highest rate.
        seed: Of everything random.
        threads: CPU threads; None lets the framework choose.
        time_limit_s: Training time after which the run ends early.
        checkpoint_every: Steps between checkpoints on top of the clock's.
        validate_every: Steps between validations.
        cache: Folder of the sample cache; ``output/cache`` by default.
        licence: Terms of the student's weights, for its spec.
        qat_steps: Steps of fine-tuning for int8 afterwards; 0: none, and no int8 file.
    """

    student: str
    sources: tuple[ImageSource, ...]
    output: Path
    teacher: Path | None = None
    teacher_spec: Path | None = None
    detector: Path | None = None
    detector_spec: Path | None = None
    validation: ImageSource | None = None
    epochs: float = 60.0
    steps: int | None = None
    batch_size: int = 32
    learning_rate: float = 2e-3
    seed: int = 0
    threads: int | None = None
    time_limit_s: float | None = None
    checkpoint_every: int | None = None
    validate_every: int = 1000
    cache: Path | None = None
    licence: str = "not stated: the terms of teacher and training pictures apply"
    qat_steps: int = 0


@dataclass(frozen=True)
class Observers:
    """Who is told what.

    Attributes:
        say: A line of text.
        reading: (persons cached, persons in all).
        training: (steps done, steps in all).
    """

    say: Say = field(default=lambda _line: None)
    reading: Progress = field(default=lambda _done, _total: None)
    training: Progress = field(default=lambda _done, _total: None)


@dataclass(frozen=True, eq=False)
class _Prepared:
    """Everything before the first step."""

    design: StudentDesign
    teacher: AnyTeacher | None
    data: TrainingPersons
    cache: SampleCache
    options: DistillationOptions


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

    The same command again goes on from the last checkpoint in the output folder.

    Args:
        request: What to distil.
        observers: Who is told.
        peers: The processes that train together, of which this one leads; the others call ``follow``.

    Raises:
        ConfigError: Data, options or an earlier checkpoint cannot be used, or the disk is full.
        ModelError: The teacher is damaged, training diverged, or the conversion damaged the student.
        MissingDependencyError: Keras or TensorFlow is not installed.
    """
    observers = observers or Observers()
    _require_keras()
    # Samples are small; OpenCV's own threads would only take cores from the training.
    cv2.setNumThreads(1)
    prepared = _prepare(request, observers)
    trained = _learn(prepared, request, observers, peers)
    # Only now: it takes seconds, and wrong data are told at once.
    from edgepose.host.distill.export import export_student

    outcome, parents = trained.outcome, parents_of(prepared.teacher)
    model = export_student(trained.student, trained.spec, parents, request.output, observers.say)
    report = DistillationReport(
        schema="edgepose.distillation/1",
        teacher=describe_teacher(prepared.teacher),
        data=_describe_data(prepared),
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
    )
    write_whole(request.output / "distillation.json", [to_json(report, indent=2).encode()])
    return report


def prepare_samples(request: DistillationRequest, observers: Observers) -> None:
    """Checks everything and fills the sample cache, without the network.

    Raises:
        ConfigError: Data or options cannot be used, or the disk is full.
        ModelError: The teacher is damaged.
    """
    _require_keras()
    _prepare(request, observers)


def follow(request: DistillationRequest, peers: Peers) -> None:
    """Trains together with the process that called ``distil``, and writes nothing but its sample cache.

    Raises:
        ConfigError: Data or options cannot be used, or are not those of the others.
        ModelError: The teacher is damaged, or training diverged.
    """
    cv2.setNumThreads(1)
    observers = Observers()
    _learn(_prepare(request, observers), request, observers, peers)


def _learn(
    prepared: _Prepared, request: DistillationRequest, observers: Observers, peers: Peers | None
) -> _Trained:
    from edgepose.host.distill.peers import Alone
    from edgepose.host.distill.trainer import OptimizerSettings, Trainer, configure_backend

    peers = peers or Alone()
    precision = configure_backend(request.seed, request.threads)
    trainer = Trainer(prepared.design, OptimizerSettings(peak_rate=request.learning_rate), precision)
    spec = student_spec(prepared.design, request.licence, _source_text(prepared))
    outcome = _train(trainer, spec, prepared, request, observers, peers)
    student = trainer.averaged_student()
    peers.part()
    return _Trained(student, spec, outcome, precision, trainer.parameters)


def _train(
    trainer: Trainer,
    spec: ModelSpec,
    prepared: _Prepared,
    request: DistillationRequest,
    observers: Observers,
    peers: Peers,
) -> TrainingOutcome:
    from edgepose.host.distill.training import LoopSettings, TrainingLoop, Validation, Watchers

    options = prepared.options
    augmentation = AugmentationSettings(spec.input.box_scale)
    share = Share(peers.rank, peers.count)
    made = BatchSettings(options.batch_size, options.seed, augmentation, share=share)
    settings = LoopSettings(
        steps=options.steps,
        peak_rate=options.learning_rate,
        time_limit_s=request.time_limit_s,
        checkpoint_every=request.checkpoint_every,
        validate_every=request.validate_every,
    )
    loop = TrainingLoop(
        trainer,
        BatchSource(prepared.cache, prepared.design, made),
        settings,
        _fingerprint(prepared),
        request.output,
        Watchers(observers.say, observers.training),
    )
    folder = request.validation
    if folder is None or folder.labels is None:
        return loop.run(peers=peers)
    return loop.run(Validation(read_coco(folder.labels, folder.images_dir), spec), peers)


def _fine_tuned(
    trained: _Trained, model: Path, prepared: _Prepared, request: DistillationRequest, observers: Observers
) -> QuantizationAwareTuning | None:
    if request.qat_steps == 0:
        return None
    from edgepose.host.distill.qat.fine_tuning import FineTuning, fine_tune
    from edgepose.host.distill.training import Watchers

    options, folder = prepared.options, request.validation
    augmentation = AugmentationSettings(trained.spec.input.box_scale)
    # Other views than the student has learned from.
    made = BatchSettings(options.batch_size, options.seed + _OTHER_VIEWS, augmentation)
    labels = None if folder is None else folder.labels
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
        validation=None if folder is None or labels is None else read_coco(labels, folder.images_dir),
    )
    return fine_tune(task, Watchers(observers.say, observers.training))


def _require_keras() -> None:
    import importlib.util

    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tensorflow") is None:
        raise MissingDependencyError(
            "Distillation needs Keras and TensorFlow.", "Run: pip install 'edgepose[distill]'"
        )


def _prepare(request: DistillationRequest, observers: Observers) -> _Prepared:
    design = student_named(request.student)
    _check_validation(request)
    try:
        request.output.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"Cannot make the folder {request.output}: {problem.strerror}.") from problem
    teacher = None
    if request.teacher is not None:
        teacher = open_teacher(request.teacher, STUDENT_SKELETON, request.teacher_spec, request.threads or 1)
    detector = None
    if request.detector is not None:
        options = RuntimeOptions(threads=request.threads or 1)
        detector = open_detector(request.detector, request.detector_spec, options)
    data = collect_persons(request.sources, STUDENT_SKELETON, detector)
    labelled = int(sum(person.labelled.sum() for person in data.persons))
    if teacher is None and labelled == 0:
        raise ConfigError(
            "There are no labels to learn from.", "Give --annotations, or a teacher without --labels-only."
        )
    observers.say(f"{len(data.persons)} persons in {data.images} images, {labelled} labelled keypoints")
    folder = request.cache or request.output / "cache"
    cache = open_cache(folder, data, design, teacher, observers.reading)
    steps = request.steps or max(1, math.ceil(request.epochs * len(cache) / request.batch_size))
    described = DistillationOptions(
        student=design.name,
        seed=request.seed,
        steps=steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        labels_only=teacher is None,
    )
    return _Prepared(design, teacher, data, cache, described)


def _check_validation(request: DistillationRequest) -> None:
    if request.validation is None:
        return
    folder = request.validation
    if folder.labels is None:
        raise ConfigError(
            f"{folder.folder} has no labels to validate on.", "It needs person_keypoints.json beside images/."
        )
    inside = {source.images_dir.resolve() for source in request.sources}
    if folder.images_dir.resolve() in inside:
        raise ConfigError(
            f"{folder.folder} is both learned from and validated on; the figures would mean nothing.",
            "Keep some pictures apart.",
        )


def _fingerprint(prepared: _Prepared) -> dict[str, Any]:
    return {
        **to_builtins(prepared.options),
        "data": prepared.data.digest,
        "teacher": None if prepared.teacher is None else prepared.teacher.sha256,
    }


def _source_text(prepared: _Prepared) -> str:
    taught = "labels alone" if prepared.teacher is None else prepared.teacher.file_name
    return f"edgepose distill: {prepared.design.name} from {taught}, {len(prepared.data.persons)} persons"


def _describe_data(prepared: _Prepared) -> DistillationData:
    cache, data = prepared.cache, prepared.data
    disputed = 0
    for index in range(len(cache)):
        trust = label_trust(
            cache.labels_px[index],
            cache.labelled[index],
            cache.teacher_px[index],
            cache.teacher_scores[index],
            cache.boxes_px[index],
            STUDENT_SKELETON,
        )
        disputed += int(np.count_nonzero((trust > 0) & (trust < 1)))
    return DistillationData(
        digest=data.digest,
        images=data.images,
        persons=len(data.persons),
        labelled_keypoints=int(cache.labelled.sum()),
        disputed_labels=disputed,
        too_small=data.too_small,
    )


def _evaluate(model: Path, request: DistillationRequest) -> EvaluationReport | None:
    folder = request.validation
    if folder is None or folder.labels is None:
        return None
    return evaluate_model(EvaluationRequest(model=model, annotations=folder.labels, images=folder.images_dir))
