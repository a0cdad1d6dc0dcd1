"""Everything before the first step: options and data checked, the teacher asked, the samples cached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.distill.batches import label_trust
from edgepose.host.distill.persons import TrainingPersons, collect_persons
from edgepose.host.distill.request import AnyTeacher, DistillationRequest, Observers
from edgepose.host.distill.sample_cache import SampleCache, open_cache
from edgepose.host.distill.students import STUDENT_SKELETON, StudentDesign, student_named
from edgepose.host.distill.teacher import open_teacher, runnable_teacher
from edgepose.host.models.locked_backend import open_locked_detector
from edgepose.records.distillation_report import DistillationData, DistillationOptions
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
    check_validation(request)
    check_start(request)
    make_output(request)
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


def check_start(request: DistillationRequest) -> None:
    """Checks that the weights to start from are there.

    Raises:
        ConfigError: They are not.
    """
    if request.start is not None and not request.start.is_file():
        raise ConfigError(
            f"There is no file {request.start}.", "--start takes the model.keras of an earlier run."
        )


def make_output(request: DistillationRequest) -> None:
    """Makes the output folder.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        request.output.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as problem:
        raise ConfigError(f"Cannot make the folder {request.output}: {problem.strerror}.") from problem


def check_validation(request: DistillationRequest) -> None:
    """Checks that what is measured on has labels and is not learned from.

    Raises:
        ConfigError: It has none, or it is.
    """
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


def fingerprint(prepared: Prepared) -> dict[str, Any]:
    """What a run is: a checkpoint of another one is refused."""
    return {
        **to_builtins(prepared.options),
        "data": prepared.data.digest,
        "teacher": None if prepared.teacher is None else prepared.teacher.sha256,
    }


def source_text(prepared: Prepared) -> str:
    """Where the student comes from, for its spec."""
    taught = "labels alone" if prepared.teacher is None else prepared.teacher.file_name
    return f"edgepose distill: {prepared.design.name} from {taught}, {len(prepared.data.persons)} persons"


def describe_data(prepared: Prepared) -> DistillationData:
    """Counts for the record."""
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
