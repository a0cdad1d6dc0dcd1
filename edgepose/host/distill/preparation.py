"""Everything before the first step: options and data checked, the teacher asked, the samples cached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.data.coco import CocoDataset, read_coco
from edgepose.host.distill.batches import cached_trust
from edgepose.host.distill.persons import TrainingPersons, collect_persons
from edgepose.host.distill.request import AnyTeacher, DistillationRequest, Observers, taught_by
from edgepose.host.distill.sample_cache import SampleCache, open_cache
from edgepose.host.distill.students import STUDENT_SKELETON, StudentDesign, student_named
from edgepose.host.distill.teacher import open_teacher, runnable_teacher
from edgepose.host.models.locked_backend import open_locked_detector
from edgepose.records.distillation_report import (
    DetectorOptions,
    DetectorTeacher,
    DistillationData,
    DistillationOptions,
)
from edgepose.records.record import to_builtins
from edgepose.runtime.open_model import RuntimeOptions
from edgepose.trust.digests import sha256_of_file


@dataclass(frozen=True, eq=False)
class Prepared:
    """Everything before the first step."""

    design: StudentDesign
    teacher: AnyTeacher | None
    data: TrainingPersons
    cache: SampleCache
    options: DistillationOptions


def require_keras() -> None:
    """Checks that both frameworks are there.

    Raises:
        MissingDependencyError: Keras or TensorFlow is not installed.
    """
    import importlib.util

    if importlib.util.find_spec("keras") is None or importlib.util.find_spec("tensorflow") is None:
        raise MissingDependencyError(
            "Distillation needs Keras and TensorFlow.", "Run: pip install 'edgepose[distill]'"
        )


def prepare(request: DistillationRequest, observers: Observers) -> Prepared:
    """Checks options and data, opens the teacher and the sample cache.

    Raises:
        ConfigError: Data or options cannot be used, or the disk is full.
        ModelError: The teacher is damaged.
    """
    design = student_named(request.student, request.input_wh)
    check_request(request)
    teacher = None
    if request.teacher is not None:
        say = observers.say
        runnable, spec = runnable_teacher(request.teacher, request.teacher_spec, request.output, say)
        teacher = open_teacher(runnable, STUDENT_SKELETON, spec, request.threads or 1)
    detector = None
    if request.detector is not None:
        options = RuntimeOptions(threads=request.threads or 1)
        detector = open_locked_detector(request.detector, request.detector_spec, options)
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
        input_wh=design.input_wh,
        start_sha256=None if request.start is None else sha256_of_file(request.start),
        augmentation=request.augmentation,
        seed=request.seed,
        steps=steps,
        batch_size=request.batch_size,
        learning_rate=request.learning_rate,
        labels_only=teacher is None,
    )
    return Prepared(design, teacher, data, cache, described)


def check_request(request: DistillationRequest) -> None:
    """Checks what is measured on and the weights to start from, and makes the output folder.

    Raises:
        ConfigError: What is measured on has no labels or is learned from, the weights are missing, or the
            folder cannot be made.
    """
    folder, start = request.validation, request.start
    if folder is not None and folder.labels is None:
        raise ConfigError(
            f"{folder.folder} has no labels to validate on.", "It needs person_keypoints.json beside images/."
        )
    learned_from = {source.images_dir.resolve() for source in request.sources}
    if folder is not None and folder.images_dir.resolve() in learned_from:
        raise ConfigError(
            f"{folder.folder} is both learned from and validated on; the figures would mean nothing.",
            "Keep some pictures apart.",
        )
    if start is not None and not start.is_file():
        raise ConfigError(f"There is no file {start}.", "--start takes the model.keras of an earlier run.")
    try:
        request.output.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"Cannot make the folder {request.output}: {problem.strerror}.") from problem


def validation_set(request: DistillationRequest) -> CocoDataset | None:
    """The labelled images to measure on, where there are any."""
    folder = request.validation
    if folder is None or folder.labels is None:
        return None
    return read_coco(folder.labels, folder.images_dir)


def fingerprint(
    options: DistillationOptions | DetectorOptions, digest: str, teacher: AnyTeacher | DetectorTeacher | None
) -> dict[str, Any]:
    """What a run is: a checkpoint of another one is refused."""
    return {**to_builtins(options), "data": digest, "teacher": None if teacher is None else teacher.sha256}


def source_text(prepared: Prepared) -> str:
    """Where the student comes from, for its spec."""
    taught, persons = taught_by(prepared.teacher), len(prepared.data.persons)
    return f"edgepose distill: {prepared.design.name} from {taught}, {persons} persons"


def describe_data(prepared: Prepared) -> DistillationData:
    """Counts for the record."""
    cache, data = prepared.cache, prepared.data
    disputed = 0
    for index in range(len(cache)):
        trust = cached_trust(cache, index)
        disputed += int(np.count_nonzero((trust > 0) & (trust < 1)))
    return DistillationData(
        digest=data.digest,
        images=data.images,
        persons=len(data.persons),
        labelled_keypoints=int(cache.labelled.sum()),
        disputed_labels=disputed,
        too_small=data.too_small,
    )
