"""What a distillation is asked for, and who is told of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgepose.host.distill.persons import ImageSource

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DistillationRequest:
    """What to distil.

    Attributes:
        student: Name of the student.
        input_wh: Another input size than the student's own.
        start: A ``.keras`` file of the same student, to go on from its weights; None: fresh ones.
        augmentation: Name of an entry of ``AUGMENTATIONS``.
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
        retraining: The request of a device that this answers.
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
    learning_rate: float = 5e-3
    seed: int = 0
    threads: int | None = None
    time_limit_s: float | None = None
    checkpoint_every: int | None = None
    validate_every: int = 1000
    cache: Path | None = None
    licence: str = "not stated: the terms of teacher and training pictures apply"
    qat_steps: int = 0
    input_wh: tuple[int, int] | None = None
    start: Path | None = None
    augmentation: str = "light"
    retraining: Path | None = None


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
