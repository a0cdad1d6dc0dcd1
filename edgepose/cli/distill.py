"""``edgepose distill``."""

from __future__ import annotations

from pathlib import Path

import click

from edgepose.cli.options import (
    PATH,
    detector_option,
    detector_spec_option,
    record_option,
    size_callback,
    spec_option,
    threads_option,
)
from edgepose.cli.output import progress_bar, say, write_report


@click.command(
    name="distill",
    epilog="Example: edgepose distill --teacher pose.onnx --spec pose.toml --student edgepose-s "
    "--images photos/ -o student/",
)
@click.option(
    "--teacher", type=PATH, metavar="MODEL", help="Pose model to learn from; for edgepose-d, a detector."
)
@click.option(
    "--student", metavar="NAME", help="edgepose-n, edgepose-s, edgepose-m, or edgepose-d: a person detector."
)
@click.option(
    "--request",
    "retraining",
    type=PATH,
    metavar="REQUEST.json",
    help="What a device asked for when its pictures drifted; the student follows from it.",
)
@click.option(
    "--images",
    "folders",
    type=PATH,
    required=True,
    multiple=True,
    metavar="DIR",
    help="Pictures, with person_keypoints.json or without; may be repeated.",
)
@click.option(
    "--annotations",
    type=PATH,
    multiple=True,
    metavar="COCO.json",
    help="Labels of the pictures; the nth goes with the nth --images.",
)
@click.option("-o", "--output", type=PATH, required=True, metavar="OUT", help="Folder to write.")
@click.option("--validate", type=PATH, metavar="DIR", help="Labelled pictures to measure on.")
@click.option("--labels-only", is_flag=True, help="Learn from the labels alone, without a teacher.")
@click.option("--epochs", type=click.FloatRange(0, min_open=True), default=60.0, show_default=True)
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Steps instead of epochs.")
@click.option("--batch-size", type=click.IntRange(1, 4096), default=32, show_default=True)
@click.option("--learning-rate", type=click.FloatRange(0, 1, min_open=True), default=5e-3, show_default=True)
@click.option(
    "--augmentation",
    type=click.Choice(["light", "medium", "strong"]),
    default="light",
    show_default=True,
    help="How strongly views differ; strong pays in long runs.",
)
@click.option("--start", type=PATH, metavar="MODEL.keras", help="Go on from the weights of an earlier run.")
@click.option(
    "--input-size", callback=size_callback, metavar="WxH", help="Another input size than the student's own."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--time-limit",
    "time_limit_min",
    type=click.FloatRange(0, min_open=True),
    metavar="MINUTES",
    help="End after this much training; the learning rate falls accordingly.",
)
@click.option("--checkpoint-every", type=click.IntRange(1), metavar="STEPS", help="Besides every 2 minutes.")
@click.option("--validate-every", type=click.IntRange(1), default=1000, show_default=True, metavar="STEPS")
@click.option("--cache", type=PATH, metavar="DIR", help="Sample cache; OUT/cache by default.")
@click.option("--licence", metavar="TEXT", help="Terms of the student's weights, for its spec.")
@click.option(
    "--qat-steps",
    type=click.IntRange(0),
    default=500,
    show_default=True,
    metavar="N",
    help="Fine-tune so long with the rounding of int8 and write model_int8.tflite, too; 0: do not.",
)
@click.option("--workers", metavar="HOST:PORT,...", help="Train together on these hosts; see --rank.")
@click.option("--rank", type=int, metavar="R", help="Which of the --workers this host is, from 0.")
@click.option("--local-workers", type=click.IntRange(2, 64), metavar="N", help="N workers here, for a try.")
@spec_option
@detector_option
@detector_spec_option
@threads_option
@record_option("edgepose.distillation/1", "edgepose.detector_distillation/1")
def command(  # noqa: PLR0917 - click passes all by name
    teacher: Path | None,
    student: str | None,
    retraining: Path | None,
    folders: tuple[Path, ...],
    annotations: tuple[Path, ...],
    output: Path,
    validate: Path | None,
    labels_only: bool,
    epochs: float,
    steps: int | None,
    batch_size: int,
    learning_rate: float,
    augmentation: str,
    start: Path | None,
    input_size: tuple[int, int] | None,
    seed: int,
    time_limit_min: float | None,
    checkpoint_every: int | None,
    validate_every: int,
    cache: Path | None,
    licence: str | None,
    qat_steps: int,
    workers: str | None,
    rank: int | None,
    local_workers: int | None,
    spec_file: Path | None,
    detector: Path | None,
    detector_spec: Path | None,
    threads: int | None,
    json_target: str | None,
) -> None:
    """Train a small student on a teacher's answers, and on labels where there are any.

    The same command again goes on from the last checkpoint in OUT.
    """
    from edgepose.host.distill.detector_distillation import distil_detector
    from edgepose.host.distill.detector_distillation import summary as detector_summary
    from edgepose.host.distill.detector_images import DETECTORS
    from edgepose.host.distill.persons import ImageSource
    from edgepose.host.distill.request import DistillationRequest, Observers, summary
    from edgepose.host.distill.retraining import read_request, student_for
    from edgepose.host.distill.supervisor import distil_with
    from edgepose.host.distill.team import requested_team

    if labels_only == (teacher is not None):
        raise click.UsageError("Give either --teacher or --labels-only.")
    if annotations and len(annotations) != len(folders):
        raise click.UsageError("Give --annotations once for each --images, or not at all.")
    asked = None if retraining is None else read_request(retraining)
    if student is None:
        if asked is None:
            raise click.UsageError("Give either --student or --request.")
        student = student_for(asked)
    if asked is not None and student in DETECTORS:
        raise click.UsageError("A --request asks for a pose model.")
    labels = annotations or (None,) * len(folders)
    optional = {} if licence is None else {"licence": licence}
    request = DistillationRequest(
        student=student,
        sources=tuple(ImageSource(*pair) for pair in zip(folders, labels, strict=True)),
        output=output,
        teacher=teacher,
        teacher_spec=spec_file,
        detector=detector,
        detector_spec=detector_spec,
        validation=None if validate is None else ImageSource(validate),
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        augmentation=augmentation,
        start=start,
        input_wh=input_size,
        seed=seed,
        threads=threads,
        time_limit_s=None if time_limit_min is None else time_limit_min * 60,
        checkpoint_every=checkpoint_every,
        validate_every=validate_every,
        cache=cache,
        qat_steps=qat_steps,
        retraining=retraining,
        **optional,
    )
    team = requested_team(workers, rank, local_workers)
    if student in DETECTORS:
        if team is not None:
            raise click.UsageError("A detector is trained in one process.")
        with progress_bar("teacher") as reading, progress_bar("training") as training:
            found = distil_detector(request, Observers(say, reading, training))
        write_report(found, json_target, detector_summary(found, output))
        return
    with progress_bar("teacher") as reading, progress_bar("training") as training:
        report = distil_with(request, team, Observers(say, reading, training))
    if report is None:
        say("done; worker 0 has model and record")
        return
    write_report(report, json_target, summary(report, output))
