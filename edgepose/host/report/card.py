"""A model card: what was measured, what the maintainers say, and what is not known yet.

The sections follow Mitchell et al. 2019, "Model Cards for Model Reporting". No figure is written by hand: all
come from records, which belong to the card's files by their digests.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from typing import Any

from edgepose import __version__
from edgepose.host.report.card_figures import (
    accuracy_by_keypoint,
    accuracy_by_slice,
    against_baselines,
    evaluation_data,
    forms_of_one_student,
    known_failures,
    latency_table,
    overall_accuracy,
    person_detector,
)
from edgepose.host.report.inputs import CardInputs, CardModel, ReportRecord, belongs_to
from edgepose.host.report.markdown import Cell, Code, bullets, code, code_block, paragraph, table, text
from edgepose.host.report.wording import NOT_MEASURED, NOT_STATED
from edgepose.records.distillation_report import DetectorDistillationReport, DistillationReport
from edgepose.records.lineage import TensorReport
from edgepose.records.model_spec import ModelSpec


def model_details(inputs: CardInputs) -> str:
    """The files, and how they are run."""
    files = table(
        ("file", "what", "format", "precision", "size", "input", "output", "parameters", "integers only"),
        [_file_row(model, inputs) for model in inputs.models],
    )
    digests = table(
        ("file", "sha256"), [(one.file_name, Code(one.inspection.sha256)) for one in inputs.models]
    )
    return f"{files}\n\n{digests}\n\n{bullets(_runs(inputs))}"


def intended_use(inputs: CardInputs) -> str:
    """What the maintainers say that it is for, and not for."""
    notes = inputs.notes
    if notes is None:
        return f"For: {NOT_STATED}.\n\nNot for: {NOT_STATED}."
    not_for = f"Not for:\n\n{bullets(notes.not_for)}" if notes.not_for else f"Not for: {NOT_STATED}."
    return f"{paragraph(notes.intended_use)}\n\n{not_for}"


def licences(inputs: CardInputs) -> str:
    """Terms of the weights, and what the training images' terms mean for who uses them."""
    notes = inputs.notes
    weights = NOT_STATED if notes is None or notes.weights_licence is None else notes.weights_licence
    inside = [(one.file_name, spec.licence) for one in inputs.models if (spec := one.inspection.spec)]
    sources = () if notes is None else notes.training_data
    rows = [(one.name, one.licence, one.terms) for one in sources]
    rows = rows or [(NOT_STATED, NOT_STATED, NOT_STATED)]
    parts = [
        f"Weights: {text(weights)}",
        table(("training data from", "licence", "what it means"), rows),
        "What the files say of themselves:",
        table(("file", "licence"), inside or [(NOT_STATED, NOT_STATED)]),
    ]
    return "\n\n".join(parts)


def how_it_was_made(inputs: CardInputs) -> str:
    """Commands, what decides the result, versions."""
    notes = inputs.notes
    commands = code_block(notes.command) if notes and notes.command else f"Commands: {NOT_STATED}."
    rows: list[tuple[Cell, ...]] = []
    for record in inputs.trainings():
        rows += _run_rows(record.report)
    rows = rows or [(NOT_STATED, "seed and versions", NOT_STATED)]
    return f"{commands}\n\n{table(('student', 'what', 'value'), rows)}"


def record_table(inputs: CardInputs) -> str:
    """Every file that the card was written from."""
    given: tuple[ReportRecord[Any], ...] = (
        *inputs.evaluations,
        *inputs.detector_evaluations,
        *inputs.benchmarks,
        *inputs.trainings(),
    )
    rows: list[tuple[Cell, ...]] = []
    for record in given:
        owners = ", ".join(model.file_name for model in belongs_to(record.report, inputs.models))
        rows.append((record.file_name, record.report.schema, owners, Code(record.sha256)))
    return table(("record", "kind", "of", "sha256"), rows) if rows else "None were given."


def _run_rows(report: DistillationReport | DetectorDistillationReport) -> list[tuple[Cell, ...]]:
    options, pose = report.options, report if isinstance(report, DistillationReport) else None
    size = "x".join(map(str, options.input_wh))
    start = f", from weights {options.start_sha256}" if options.start_sha256 else ", from fresh weights"
    what = {
        "seed": str(options.seed),
        "input": f"{size} pixels{start}",
        "steps": f"{report.steps_done} of {options.steps} planned, {options.batch_size} samples each",
        "ended by": report.ended_by,
        "highest learning rate": f"{options.learning_rate:g}",
        **({"augmentation": pose.options.augmentation} if pose else {}),
        "training precision": report.precision,
        **({"processes": str(pose.workers)} if pose else {}),
        "training time": f"{report.seconds / 60:.1f} minutes",
        "loss at the end": f"{report.loss:.4g}",
    }
    if pose is not None and (tuned := pose.quantization_aware) is not None:
        done = f"{tuned.steps} steps, highest rate {tuned.learning_rate:g}, loss {tuned.loss:.4g}"
        what["quantization-aware fine-tuning"] = done
    what |= dict(sorted(report.versions.items()))
    return [(options.student, name, value) for name, value in what.items()]


def _file_row(model: CardModel, inputs: CardInputs) -> tuple[str, ...]:
    seen = model.inspection
    what = NOT_STATED if seen.spec is None else f"{seen.spec.name} {seen.spec.version}"
    integers = {True: "yes", False: "no", None: NOT_MEASURED}[seen.integer_only]
    size = f"{seen.size_bytes / 2**20:.2f} MiB ({seen.size_bytes} bytes)"
    return (
        model.file_name, what, seen.format, seen.precision, size, _tensors(seen.inputs),
        _tensors(seen.outputs), _parameters(model, inputs), integers,
    )  # fmt: skip


def _parameters(model: CardModel, inputs: CardInputs) -> str:
    for record in inputs.trainings():
        if model in belongs_to(record.report, inputs.models):
            return str(record.report.parameters)
    return NOT_MEASURED


def _tensors(tensors: tuple[TensorReport, ...]) -> str:
    return ", ".join(f"{one.name} {'x'.join(map(str, one.shape))} {one.dtype}" for one in tensors)


def _runs(inputs: CardInputs) -> list[str]:
    """A line for each way in which the files are run; float and int8 mostly share one."""
    found: dict[str, list[str]] = {}
    for model in inputs.models:
        spec = model.inspection.spec
        line = "no spec inside: not stated how it is run" if spec is None else _run(spec)
        found.setdefault(line, []).append(model.file_name)
    return [f"{', '.join(names)}: {line}." for line, names in found.items()]


def _run(spec: ModelSpec) -> str:
    size = f"{spec.input.width_px}x{spec.input.height_px} pixels (width x height), {spec.input.resize}"
    kind = spec.paradigm.replace("_", "-")
    seen = "boxes of persons"
    if spec.paradigm != "detector":
        skeleton = spec.pose_skeleton
        seen = f"{len(skeleton.keypoint_names)} keypoints ({skeleton.name})"
    return f"{kind}, {size}, gives {seen}; source: {spec.source}"


def training_data(inputs: CardInputs) -> str:
    """Amounts and the teacher, from the training records."""
    parts = [_of_one(record.report) for record in inputs.distillations]
    parts += [_of_detector(record.report) for record in inputs.detector_distillations]
    return "\n\n".join(parts) if parts else f"Pictures, persons and labels: {NOT_MEASURED}."


def _of_one(report: DistillationReport) -> str:
    data, teacher = report.data, report.teacher
    rows: list[tuple[Cell, Cell]] = [
        ("pictures", str(data.images)),
        ("persons", str(data.persons)),
        ("labelled keypoints", str(data.labelled_keypoints)),
        (
            "disputed labels (a confident teacher sees another place)",
            NOT_MEASURED if teacher is None else str(data.disputed_labels),
        ),
        ("persons left out for their size", str(data.too_small)),
        ("sha256 of pictures, boxes and labels", Code(data.digest)),
        ("teacher", "none, labels alone" if teacher is None else teacher.file_name),
    ]
    if teacher is not None:
        rows += [("what the teacher gave", teacher.targets), ("sha256 of the teacher", Code(teacher.sha256))]
    return table((report.options.student, ""), rows)


def _of_detector(report: DetectorDistillationReport) -> str:
    data, teacher = report.data, report.teacher
    rows: list[tuple[Cell, Cell]] = [
        ("pictures", str(data.images)),
        ("pictures without a person", str(data.images_without_person)),
        ("persons, the labels' and the teacher's", str(data.persons)),
        ("sha256 of pictures and boxes", Code(data.digest)),
        ("teacher", "none, labels alone" if teacher is None else teacher.file_name),
    ]
    if teacher is not None:
        rows.append(("sha256 of the teacher", Code(teacher.sha256)))
    return table((report.options.student, ""), rows)


_METRICS = (
    "AP, AP50, AP75 and AR are COCO's, by object keypoint similarity (OKS), as fractions from 0 to 1. "
    "PCK@0.2 is the share of labelled keypoints that lie within 0.2 of the torso's length, left shoulder to "
    "right hip, or of the box's longer side where these are not labelled. Behind a figure stands its 95 % "
    "interval. Evaluations run through the code that runs on the device."
)
_FACTORS = (
    (
        "Slices: size of the person (small under 32^2, large from 96^2 square pixels), share of visible "
        "keypoints, overlap with others, brightness, blur. A slice has a figure only with enough persons."
    ),
    (
        f"Age, sex, skin tone, clothing, disability, place, camera: {NOT_MEASURED}; "
        "the records hold no such labels."
    ),
)


def render_card(inputs: CardInputs) -> str:
    """The card as Markdown, the same text for the same inputs."""
    title = ", ".join(model.file_name for model in inputs.models)
    if inputs.notes is not None:
        title = inputs.notes.title
    sections = (f"## {heading}\n\n{write(inputs)}" for heading, write in _SECTIONS)
    return "\n\n".join([f"# {text(title)}", *sections, "---", _last_line(inputs)]) + "\n"


def _analyses(inputs: CardInputs) -> str:
    parts = [
        ("Accuracy", overall_accuracy(inputs)),
        ("Per keypoint", accuracy_by_keypoint(inputs)),
        ("Slices", accuracy_by_slice(inputs)),
        ("int8 against float", against_baselines(inputs)),
        ("Forms of one student", forms_of_one_student(inputs)),
        ("Latency", latency_table(inputs)),
    ]
    if inputs.detectors():
        parts.insert(1, ("Person detector", person_detector(inputs)))
    return "\n\n".join(f"### {heading}\n\n{body}" for heading, body in parts)


_SECTIONS: tuple[tuple[str, Callable[[CardInputs], str]], ...] = (
    ("Model details", model_details),
    ("Intended use", intended_use),
    ("Factors", lambda _inputs: "\n\n".join(map(paragraph, _FACTORS))),
    ("Metrics", lambda _inputs: paragraph(_METRICS)),
    ("Evaluation data", evaluation_data),
    ("Training data", training_data),
    ("Quantitative analyses", _analyses),
    ("Known failures", known_failures),
    ("Licences and their limits", licences),
    ("How it was made", how_it_was_made),
    ("Records", record_table),
)


def _last_line(inputs: CardInputs) -> str:
    command = code(shlex.join(_command(inputs)))
    return f"Generated from the records above by edgepose {__version__}: {command}"


def _command(inputs: CardInputs) -> Iterator[str]:
    """File names without their folders: a folder is not what the card depends on."""
    yield from ("edgepose", "models", "card")
    yield from (model.file_name for model in inputs.models)
    for option, found in (
        ("--evaluation", inputs.evaluations),
        ("--evaluation", inputs.detector_evaluations),
        ("--benchmark", inputs.benchmarks),
        ("--distillation", inputs.distillations),
        ("--distillation", inputs.detector_distillations),
    ):
        for record in found:
            yield from (option, record.file_name)
    if inputs.notes_file is not None:
        yield from ("--notes", inputs.notes_file)
    yield from ("-o", "CARD.md")
