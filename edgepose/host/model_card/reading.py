"""Reads model files and records, and refuses a record that tells about another file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError
from edgepose.host.model_card.material import (
    CardMaterial,
    CardModel,
    CardRecord,
    ReportType,
    belongs_to,
    digests_of,
)
from edgepose.host.models.inspect import inspect_model
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.device_profile import load_profiles
from edgepose.records.distillation_report import DetectorDistillationReport, DistillationReport
from edgepose.records.evaluation_report import DetectorEvaluationReport, EvaluationReport
from edgepose.records.lineage import LINEAGE_METADATA_KEY, lineage_from_json
from edgepose.records.model_card_notes import read_notes
from edgepose.records.record import from_builtins, read_text
from edgepose.runtime.model_file import read_metadata
from edgepose.trust.digests import sha256_of_bytes

# A student learned from its teacher; it is not the same network in another form.
_TRAINING_STEP = "distil"
_DETECTOR_EVALUATION = "edgepose.detector_evaluation/1"
_DETECTOR_SCHEMA = "edgepose.detector_distillation/1"


@dataclass(frozen=True)
class CardRequest:
    """What ``edgepose models card`` was asked for.

    Attributes:
        models: Model files.
        evaluations: Records of ``edgepose evaluate``.
        benchmarks: Records of ``edgepose benchmark``.
        distillations: Records of ``edgepose distill``.
        notes: ``NOTES.toml``, or None.
    """

    models: tuple[Path, ...]
    evaluations: tuple[Path, ...] = ()
    benchmarks: tuple[Path, ...] = ()
    distillations: tuple[Path, ...] = ()
    notes: Path | None = None


def read_material(request: CardRequest) -> CardMaterial:
    """Reads all files.

    Raises:
        ConfigError: A record or the notes cannot be read, is another record, or tells about none of the
            model files; two model files have one name or one content.
        ModelError: A model file is damaged.
        MissingDependencyError: The package that reads a model's format is not installed.
    """
    models = tuple(map(_read_model, request.models))
    _require_distinct(models)
    found_persons, evaluations = _apart(request.evaluations, _DETECTOR_EVALUATION)
    of_detectors, of_poses = _apart(request.distillations, _DETECTOR_SCHEMA)
    material = CardMaterial(
        models=models,
        evaluations=_read_records(evaluations, "edgepose.evaluation/1", EvaluationReport, models),
        detector_evaluations=_read_records(
            found_persons, _DETECTOR_EVALUATION, DetectorEvaluationReport, models
        ),
        benchmarks=_read_records(request.benchmarks, "edgepose.benchmark/1", BenchmarkReport, models),
        distillations=_read_records(of_poses, "edgepose.distillation/1", DistillationReport, models),
        detector_distillations=_read_records(
            of_detectors, _DETECTOR_SCHEMA, DetectorDistillationReport, models
        ),
        notes=None if request.notes is None else read_notes(request.notes),
        notes_file=None if request.notes is None else request.notes.name,
        profiles=tuple(profile.id for profile in load_profiles()),
    )
    _require_measured(material)
    return material


def _read_model(path: Path) -> CardModel:
    text = read_metadata(path).get(LINEAGE_METADATA_KEY)
    parents = () if text is None else lineage_from_json(text, str(path)).parents
    return CardModel(
        file_name=path.name,
        inspection=inspect_model(path),
        made_from=frozenset(one.sha256 for one in parents if not one.step.startswith(_TRAINING_STEP)),
    )


def _require_distinct(models: Sequence[CardModel]) -> None:
    for what, values in (
        ("the name", [model.file_name for model in models]),
        ("the content", [model.inspection.sha256 for model in models]),
    ):
        twice = sorted({value for value in values if values.count(value) > 1})
        if twice:
            raise ConfigError(
                f"Two of the model files have {what} {twice[0]}, so the card could not tell them apart.",
                "Give each model once, under a name of its own.",
            )


def _require_measured(material: CardMaterial) -> None:
    """A name for data that nothing was measured on would be a mistake in its digest."""
    measured = {report.dataset.digest for report in material.all_evaluations()}
    measured |= {one.report.digest for one in material.detector_evaluations}
    named = () if material.notes is None else material.notes.evaluation_data
    for source in named:
        if source.digest not in measured:
            raise ConfigError(
                f"{material.notes_file} names the evaluation data {source.digest}, which no record was "
                f"measured on; there are {', '.join(sorted(measured)) or 'none'}.",
                "Give dataset.digest of an evaluation record, or leave the name out.",
            )


def _read_records(
    paths: Sequence[Path], schema: str, record: type[ReportType], models: tuple[CardModel, ...]
) -> tuple[CardRecord[ReportType], ...]:
    found = {}
    for path in paths:
        text = read_text(path)
        report = from_builtins(_parse(text, path, schema), record, str(path))
        _require_owner(path, report, models)
        digest = sha256_of_bytes(text.encode())
        found[digest] = CardRecord(path.name, digest, report)
    order = [model.inspection.sha256 for model in models]

    def place(one: CardRecord[ReportType]) -> tuple[int, str, str]:
        owner = next((i for i, digest in enumerate(order) if digest == digests_of(one.report)[0]), len(order))
        return owner, one.file_name, one.sha256

    return tuple(sorted(found.values(), key=place))


def _apart(paths: Sequence[Path], schema: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files of one kind of record, and the others."""
    found = tuple(path for path in paths if _schema(path) == schema)
    return found, tuple(path for path in paths if path not in found)


def _schema(path: Path) -> Any:
    data = _json(read_text(path), path)
    return data.get("schema") if isinstance(data, dict) else None


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not valid JSON: {problem}.") from problem


def _parse(text: str, path: Path, schema: str) -> Any:
    data = _json(text, path)
    said = data.get("schema") if isinstance(data, dict) else None
    if said != schema:
        raise ConfigError(
            f"{path}: expected a record of {schema}, found schema {said!r}.",
            "--evaluation takes what `edgepose evaluate --json` wrote, --benchmark that of `edgepose "
            "benchmark`, --distillation the distillation.json beside a student.",
        )
    return data


def _require_owner(path: Path, report: ReportType, models: tuple[CardModel, ...]) -> None:
    if belongs_to(report, models):
        return
    known = ", ".join(f"{model.file_name} ({model.inspection.sha256})" for model in models)
    raise ConfigError(
        f"{path} tells about the model with sha256 {' and '.join(digests_of(report))}, which is none of the "
        f"card's files: {known}.",
        "Name that model file too, or measure again on the files of the card.",
    )
