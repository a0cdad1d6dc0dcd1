"""Reads records and model files; refuses a record that is of another kind or tells about another file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError
from edgepose.host.models.inspect import inspect_model
from edgepose.host.report.inputs import (
    CardInputs,
    CardModel,
    DrawnFrames,
    ReportInputs,
    ReportRecord,
    ReportType,
    TrainingCurve,
    belongs_to,
    digests_of,
)
from edgepose.host.report.plot_frame import drawable
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.deployment_report import DeploymentReport
from edgepose.records.device_profile import load_profiles
from edgepose.records.device_status import StatusReport
from edgepose.records.distillation_report import DetectorDistillationReport, DistillationReport
from edgepose.records.evaluation_report import DetectorEvaluationReport, EvaluationReport, GateResult
from edgepose.records.lineage import LINEAGE_METADATA_KEY, lineage_from_json
from edgepose.records.model_card_notes import read_notes
from edgepose.records.quantization import QuantizationReport
from edgepose.records.record import Record, from_builtins, read_text
from edgepose.runtime.model_file import read_metadata
from edgepose.trust.digests import sha256_of_bytes

# A student learned from its teacher; it is not the same network in another form.
_TRAINING_STEP = "distil"
_DETECTOR_EVALUATION = "edgepose.detector_evaluation/1"
_DETECTOR_SCHEMA = "edgepose.detector_distillation/1"


@dataclass(frozen=True)
class CardRequest:
    """The files that ``edgepose models card`` was given, each list by its option."""

    models: tuple[Path, ...]
    evaluations: tuple[Path, ...] = ()
    benchmarks: tuple[Path, ...] = ()
    distillations: tuple[Path, ...] = ()
    notes: Path | None = None


def read_card_inputs(request: CardRequest) -> CardInputs:
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
    inputs = CardInputs(
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
    _require_measured(inputs)
    return inputs


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


def _require_measured(inputs: CardInputs) -> None:
    """A name for data that nothing was measured on would be a mistake in its digest."""
    measured = {report.dataset.digest for report in inputs.all_evaluations()}
    measured |= {one.report.digest for one in inputs.detector_evaluations}
    named = () if inputs.notes is None else inputs.notes.evaluation_data
    for source in named:
        if source.digest not in measured:
            raise ConfigError(
                f"{inputs.notes_file} names the evaluation data {source.digest}, which no record was "
                f"measured on; there are {', '.join(sorted(measured)) or 'none'}.",
                "Give dataset.digest of an evaluation record, or leave the name out.",
            )


def _read_records(
    paths: Sequence[Path], schema: str, record: type[ReportType], models: tuple[CardModel, ...]
) -> tuple[ReportRecord[ReportType], ...]:
    found = {}
    for path in paths:
        text = read_text(path)
        report = from_builtins(_parse(text, path, schema), record, str(path))
        _require_owner(path, report, models)
        digest = sha256_of_bytes(text.encode())
        found[digest] = ReportRecord(path.name, digest, report)
    order = [model.inspection.sha256 for model in models]

    def place(one: ReportRecord[ReportType]) -> tuple[int, str, str]:
        owner = next((i for i, digest in enumerate(order) if digest == digests_of(one.report)[0]), len(order))
        return owner, one.file_name, one.sha256

    return tuple(sorted(found.values(), key=place))


def _apart(paths: Sequence[Path], schema: str) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """The files of one kind of record, and the others."""
    found = tuple(path for path in paths if _schema_of(_json(read_text(path), path)) == schema)
    return found, tuple(path for path in paths if path not in found)


def _json(text: str, path: Path) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as problem:
        raise ConfigError(f"{path} is not valid JSON: {problem}.") from problem


def _schema_of(data: Any) -> Any:
    return data.get("schema") if isinstance(data, dict) else None


def _parse(text: str, path: Path, schema: str) -> Any:
    data = _json(text, path)
    if _schema_of(data) != schema:
        raise ConfigError(
            f"{path}: expected a record of {schema}, found schema {_schema_of(data)!r}.",
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


def read_training_log(path: Path) -> TrainingCurve:
    """Losses and AP by step of a ``metrics.jsonl``; a line that a kill cut short is counted, not fatal.

    Raises:
        ConfigError: The file cannot be read.
    """
    losses: dict[float, float] = {}
    accuracies: dict[float, float] = {}
    unreadable = 0
    for line in read_text(path).splitlines():
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        step = _figure(entry, "step")
        if step is None:
            unreadable += bool(line.strip())
            continue
        loss, accuracy = _figure(entry, "loss"), _figure(entry.get("validation"), "oks_ap")
        if loss is not None:
            losses[step] = loss
        if accuracy is not None:
            accuracies[step] = accuracy
    return TrainingCurve(tuple(sorted(losses.items())), tuple(sorted(accuracies.items())), unreadable)


def _figure(entry: Any, name: str) -> float | None:
    value = entry.get(name) if isinstance(entry, dict) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return drawable(float(value)) if abs(value) < 1e300 else None


_KINDS: dict[str, type[Record]] = {
    "edgepose.evaluation/1": EvaluationReport,
    "edgepose.benchmark/1": BenchmarkReport,
    "edgepose.deployment/1": DeploymentReport,
    "edgepose.quantization/1": QuantizationReport,
    "edgepose.distillation/1": DistillationReport,
    "edgepose.status/1": StatusReport,
}
_METRICS_LOG = "metrics.jsonl"
_SHORTEST_DIGEST = 8


@dataclass(frozen=True)
class ReportRequest:
    """What ``edgepose report`` was given; ``data_names``: digest of data, or how it begins, with a name."""

    records: tuple[Path, ...]
    title: str
    data_names: tuple[tuple[str, str], ...] = ()


def read_report_inputs(request: ReportRequest, drawn: DrawnFrames | None = None) -> ReportInputs:
    """Reads all records.

    Raises:
        ConfigError: A file cannot be read, or is no record that a report understands; a name is given for
            data that nothing was measured on.
    """
    found: dict[type[Record], list[ReportRecord[Any]]] = defaultdict(list)
    curves: dict[str, TrainingCurve] = {}
    for path in request.records:
        record = _read_record(path)
        kind = type(record.report)
        if any(record.sha256 == other.sha256 for other in found[kind]):
            continue
        found[kind].append(record)
        if isinstance(record.report, DistillationReport):
            log = path.with_name(_METRICS_LOG)
            if log.is_file():
                curves[record.sha256] = read_training_log(log)
    inputs = ReportInputs(
        title=request.title,
        evaluations=tuple(found[EvaluationReport]),
        benchmarks=tuple(found[BenchmarkReport]),
        deployments=tuple(found[DeploymentReport]),
        quantizations=tuple(found[QuantizationReport]),
        distillations=tuple(found[DistillationReport]),
        statuses=tuple(found[StatusReport]),
        curves=curves,
        drawn=drawn,
    )
    digests = sorted({record.report.dataset.digest for record in inputs.all_evaluations()})
    names = dict(_whole_digest(prefix, name, digests) for prefix, name in request.data_names)
    return replace(inputs, data_names=names)


def _read_record(path: Path) -> ReportRecord[Record]:
    text = read_text(path)
    data = _json(text, path)
    schema = _schema_of(data)
    kind = _KINDS.get(schema) if isinstance(schema, str) else None
    if kind is None:
        raise ConfigError(
            f"{path}: expected a record of {', '.join(_KINDS)}; found schema {schema!r}.",
            "Give what evaluate, benchmark, deploy, quantize or status wrote with --json, or the "
            "distillation.json beside a student.",
        )
    if kind is DeploymentReport and data.get("gate") is not None:
        # Names the part that is damaged before the whole is read.
        from_builtins(data["gate"], GateResult, f"{path}, gate")
    return ReportRecord(path.name, sha256_of_bytes(text.encode()), from_builtins(data, kind, str(path)))


def _whole_digest(prefix: str, name: str, digests: Sequence[str]) -> tuple[str, str]:
    meant = [digest for digest in digests if digest.startswith(prefix.lower())]
    if len(prefix) < _SHORTEST_DIGEST or len(meant) != 1:
        raise ConfigError(
            f"--data {prefix}={name}: expected {_SHORTEST_DIGEST} or more letters that begin the digest of "
            f"exactly one measured data set, found {len(meant)}; there are {', '.join(digests) or 'none'}.",
            "Give dataset.digest of an evaluation record.",
        )
    return meant[0], name
