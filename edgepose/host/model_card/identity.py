"""What the model is, what it is for, under which terms, and how it was made."""

from __future__ import annotations

from typing import Any

from edgepose.host.model_card.figures import NOT_MEASURED, NOT_STATED
from edgepose.host.model_card.markdown import Cell, Code, bullets, code_block, paragraph, table, text
from edgepose.host.model_card.material import CardMaterial, CardModel, CardRecord, belongs_to
from edgepose.records.distillation_report import DetectorDistillationReport
from edgepose.records.lineage import TensorReport
from edgepose.records.model_spec import ModelSpec


def details(material: CardMaterial) -> str:
    """The files, and how they are run."""
    files = table(
        ("file", "what", "format", "precision", "size", "input", "output", "parameters", "integers only"),
        [_file_row(model, material) for model in material.models],
    )
    digests = table(
        ("file", "sha256"), [(one.file_name, Code(one.inspection.sha256)) for one in material.models]
    )
    return f"{files}\n\n{digests}\n\n{bullets(_runs(material))}"


def intended_use(material: CardMaterial) -> str:
    """What the maintainers say that it is for, and not for."""
    notes = material.notes
    if notes is None:
        return f"For: {NOT_STATED}.\n\nNot for: {NOT_STATED}."
    not_for = f"Not for:\n\n{bullets(notes.not_for)}" if notes.not_for else f"Not for: {NOT_STATED}."
    return f"{paragraph(notes.intended_use)}\n\n{not_for}"


def licences(material: CardMaterial) -> str:
    """Terms of the weights, and what the training pictures' terms mean for who uses them."""
    notes = material.notes
    weights = NOT_STATED if notes is None or notes.weights_licence is None else notes.weights_licence
    inside = [(one.file_name, spec.licence) for one in material.models if (spec := one.inspection.spec)]
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


def how_it_was_made(material: CardMaterial) -> str:
    """Commands, what decides the result, versions."""
    notes = material.notes
    commands = code_block(notes.command) if notes and notes.command else f"Commands: {NOT_STATED}."
    rows: list[tuple[Cell, ...]] = []
    for record in material.distillations:
        report, options = record.report, record.report.options
        size = "x".join(map(str, options.input_wh))
        start = f", from weights {options.start_sha256}" if options.start_sha256 else ", from fresh weights"
        rows += [
            (options.student, "seed", str(options.seed)),
            (options.student, "input", f"{size} pixels{start}"),
            (
                options.student,
                "steps",
                f"{report.steps_done} of {options.steps} planned, {options.batch_size} samples each",
            ),
            (options.student, "ended by", report.ended_by),
            (options.student, "highest learning rate", f"{options.learning_rate:g}"),
            (options.student, "augmentation", options.augmentation),
            (options.student, "training precision", report.precision),
            (options.student, "processes", str(report.workers)),
            (options.student, "training time", f"{report.seconds / 60:.1f} minutes"),
            (options.student, "loss at the end", f"{report.loss:.4g}"),
        ]
        if (tuned := report.quantization_aware) is not None:
            done = f"{tuned.steps} steps, highest rate {tuned.learning_rate:g}, loss {tuned.loss:.4g}"
            rows.append((options.student, "quantization-aware fine-tuning", done))
        rows += [(options.student, name, version) for name, version in sorted(report.versions.items())]
    for detector in material.detector_distillations:
        rows += _detector_run(detector.report)
    rows = rows or [(NOT_STATED, "seed and versions", NOT_STATED)]
    return f"{commands}\n\n{table(('student', 'what', 'value'), rows)}"


def records(material: CardMaterial) -> str:
    """Every file that the card was written from."""
    given: tuple[CardRecord[Any], ...] = (
        *material.evaluations,
        *material.detector_evaluations,
        *material.benchmarks,
        *material.distillations,
        *material.detector_distillations,
    )
    rows: list[tuple[Cell, ...]] = [
        (record.file_name, record.report.schema, _owners(record.report, material), Code(record.sha256))
        for record in given
    ]
    return table(("record", "kind", "of", "sha256"), rows) if rows else "None were given."


def _detector_run(report: DetectorDistillationReport) -> list[tuple[Cell, ...]]:
    options = report.options
    size = "x".join(map(str, options.input_wh))
    start = f", from weights {options.start_sha256}" if options.start_sha256 else ", from fresh weights"
    planned = f"{report.steps_done} of {options.steps} planned, {options.batch_size} samples each"
    what = {
        "seed": str(options.seed),
        "input": f"{size} pixels{start}",
        "steps": planned,
        "ended by": report.ended_by,
        "highest learning rate": f"{options.learning_rate:g}",
        "training precision": report.precision,
        "training time": f"{report.seconds / 60:.1f} minutes",
        "loss at the end": f"{report.loss:.4g}",
        **dict(sorted(report.versions.items())),
    }
    return [(options.student, name, value) for name, value in what.items()]


def _owners(report: Any, material: CardMaterial) -> str:
    return ", ".join(model.file_name for model in belongs_to(report, material.models))


def _file_row(model: CardModel, material: CardMaterial) -> tuple[str, ...]:
    seen = model.inspection
    what = NOT_STATED if seen.spec is None else f"{seen.spec.name} {seen.spec.version}"
    integers = {True: "yes", False: "no", None: NOT_MEASURED}[seen.integer_only]
    size = f"{seen.size_bytes / 2**20:.2f} MiB ({seen.size_bytes} bytes)"
    return (
        model.file_name, what, seen.format, seen.precision, size, _tensors(seen.inputs),
        _tensors(seen.outputs), _parameters(model, material), integers,
    )  # fmt: skip


def _parameters(model: CardModel, material: CardMaterial) -> str:
    trainings: tuple[CardRecord[Any], ...] = (*material.distillations, *material.detector_distillations)
    for record in trainings:
        if model in belongs_to(record.report, material.models):
            return str(record.report.parameters)
    return NOT_MEASURED


def _tensors(tensors: tuple[TensorReport, ...]) -> str:
    return ", ".join(f"{one.name} {'x'.join(map(str, one.shape))} {one.dtype}" for one in tensors)


def _runs(material: CardMaterial) -> list[str]:
    """A line for each way in which the files are run; float and int8 mostly share one."""
    found: dict[str, list[str]] = {}
    for model in material.models:
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
