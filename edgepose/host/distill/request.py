"""What a distillation is asked for, who is told of it, and its record in a few lines."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgepose.host.distill.persons import ImageSource
from edgepose.host.distill.teacher import CoordinateTeacher, HeatmapTeacher
from edgepose.records.distillation_report import (
    DetectorDistillationReport,
    DetectorTeacher,
    DistillationReport,
    DistillationTeacher,
    QuantizationAwareTuning,
)
from edgepose.records.lineage import ParentModel

Say = Callable[[str], None]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class DistillationRequest:
    """What to distil.

    Attributes:
        input_wh: Another input size than the student's own.
        start: A ``.keras`` file of the same student, to go on from its weights; None: fresh ones.
        augmentation: Name of an entry of ``AUGMENTATIONS``.
        output: Folder for model, record, log and checkpoints.
        teacher: The teacher model; None learns from labels alone.
        detector: Finds persons in folders without labels.
        validation: Labelled folder to measure on; never learned from.
        epochs: Passes over the persons, where ``steps`` is not given.
        batch_size: Samples a step.
        threads: CPU threads; None lets the framework choose.
        time_limit_s: Training time after which the run ends early.
        checkpoint_every: Steps between checkpoints on top of the clock's.
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


AnyTeacher = HeatmapTeacher | CoordinateTeacher

_VERSIONS = ("keras", "tensorflow", "jax", "numpy", "opencv-python-headless")


def taught_by(teacher: AnyTeacher | DistillationTeacher | DetectorTeacher | None) -> str:
    """Whom a student learns from, for people."""
    return "labels alone" if teacher is None else teacher.file_name


def parents_of(teacher: AnyTeacher | DetectorTeacher | None) -> tuple[ParentModel, ...]:
    """What the student's lineage names: the teacher, or nothing."""
    if teacher is None:
        return ()
    return (ParentModel(file_name=teacher.file_name, sha256=teacher.sha256, step="distil: teacher"),)


def describe_teacher(teacher: AnyTeacher | None) -> DistillationTeacher | None:
    """The teacher as the record has it."""
    if teacher is None:
        return None
    return DistillationTeacher(
        file_name=teacher.file_name,
        sha256=teacher.sha256,
        targets="heatmaps" if isinstance(teacher, HeatmapTeacher) else "keypoints",
    )


def versions() -> dict[str, str]:
    """Of what trains, by package."""
    found = {}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            # jax is one of two backends.
            continue
    return found


def run_lines(
    report: DistillationReport | DetectorDistillationReport, output: Path, learned_from: str
) -> list[str]:
    """What was written, and how it was learned."""
    return [
        (
            f"{output / 'model.tflite'}: {report.options.student}, "
            f"{report.parameters / 1e6:.2f} M parameters, {report.model.size_bytes / 2**20:.2f} MiB"
        ),
        (
            f"  learned from {taught_by(report.teacher)}: {learned_from}, "
            f"{report.steps_done} steps in {report.seconds / 60:.1f} min, ended by {report.ended_by}"
        ),
    ]


def summary(report: DistillationReport, output: Path) -> str:
    """The record in a few lines."""
    data = report.data
    labels = f"{data.labelled_keypoints} labelled keypoints ({data.disputed_labels} disputed)"
    lines = run_lines(report, output, f"{data.persons} persons in {data.images} images, {labels}")
    if report.evaluation is not None:
        metrics = report.evaluation.metrics
        shown = ", ".join(
            f"{name} {figure.value:.3f}" for name, figure in metrics.items() if figure.value is not None
        )
        lines.append(f"  on {report.evaluation.dataset.persons} other persons: {shown}")
    tuned = report.quantization_aware
    if tuned is not None:
        lines += _int8_lines(tuned, output)
    return "\n".join(lines)


def _int8_lines(tuned: QuantizationAwareTuning, output: Path) -> list[str]:
    forms = {
        "float": tuned.float_student,
        "fake-quantized": tuned.fake_quantized,
        "int8": tuned.converted,
        "plain int8": tuned.plain,
    }
    parts = []
    for name, figures in forms.items():
        values = {"AP": figures.oks_ap, "PCK": figures.pck, "agreement": figures.agreement_oks}
        shown = " ".join(f"{what} {value:.3f}" for what, value in values.items() if value is not None)
        parts.append(f"{name} {shown or '-'}")
    return [
        (
            f"{output / 'model_int8.tflite'}: integer only, {tuned.model.size_bytes / 2**20:.2f} MiB, "
            f"{tuned.steps} steps of fine-tuning in {tuned.seconds / 60:.1f} min"
        ),
        f"  on {tuned.measured_on} pictures: {'; '.join(parts)}; kept: {tuned.shipped.replace('_', '-')}",
    ]
