"""The whole audit of a data folder: looks at everything, then judges."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.data.audit import verdict
from edgepose.host.data.audit.audited_person import AuditedPerson, labelled_persons
from edgepose.host.data.audit.coverage import PosesFrom, coverage, person_figures, picture_figures
from edgepose.host.data.audit.fitness import HINT, distinct_pictures, unfit_because
from edgepose.host.data.audit.image_facts import PictureFacts, picture_facts
from edgepose.host.data.audit.label_errors import counts_by_kind, ranked, suspicious_labels, wrong_sizes
from edgepose.host.data.audit.label_teacher import TeacherFindings, ask_teacher
from edgepose.host.data.audit.leakage import facts_of, leaks_between
from edgepose.host.data.audit.manifest import licences_of, make_manifest
from edgepose.host.data.audit.model_findings import AuditRequest, ModelFindings, ask_model
from edgepose.host.data.audit.near_copies import (
    COPY_CORRELATION,
    SCENE_CORRELATION,
    NearPair,
    grouped,
    pairs_within,
)
from edgepose.host.data.coco import CocoDataset, read_coco
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME, DataFolder, open_data_folder
from edgepose.records.data_audit import DataAuditReport, DatasetManifest, LabelError, Leak


@dataclass(frozen=True, eq=False)
class _Evidence:
    """All that was looked at."""

    folder: DataFolder
    pictures: list[PictureFacts]
    pairs: list[NearPair]
    leaks: tuple[Leak, ...]
    manifest: DatasetManifest
    labelled: list[AuditedPerson]
    labelled_pictures: tuple[str, ...]
    model: ModelFindings | None
    teacher: TeacherFindings | None
    errors: tuple[LabelError, ...]

    @property
    def persons(self) -> tuple[PosesFrom, Sequence[AuditedPerson], Sequence[str]]:
        """Where persons come from, who they are, and the pictures that were looked at for them."""
        if self.labelled:
            return "labels", self.labelled, self.labelled_pictures
        if self.model is not None:
            return "model", self.model.persons, self.model.looked_at
        return "none", (), ()


def audit_folder(request: AuditRequest) -> DataAuditReport:
    """Audits a data folder.

    Raises:
        ConfigError: A folder is missing, has damaged labels or manifest, or holds no usable picture; or a
            model has no spec.
        ModelError: A model is damaged or disagrees with its spec.
        MissingDependencyError: The runtime of a model is not installed.
    """
    return _report(request, _look(request))


def refuse_unfit_report(report: DataAuditReport) -> None:
    """Ends an audit that found a problem, after its report was written.

    Raises:
        ConfigError: The folder is not fit; the message names every problem.
    """
    if not report.fit:
        raise ConfigError(f"{report.folder} is not fit: {' '.join(report.problems)}", HINT)


def _look(request: AuditRequest) -> _Evidence:
    folder = open_data_folder(request.folder)
    pictures = []
    for done, image in enumerate(folder.images, start=1):
        pictures.append(picture_facts(image.path, image.sha256))
        request.progress(done, len(folder.images))
    dataset = _labels(folder)
    labelled = labelled_persons(dataset) if dataset is not None else []
    model = ask_model(request, folder, pictures)
    teacher = _teacher(request, folder, labelled)
    errors = [*suspicious_labels(labelled), *wrong_sizes(labelled, pictures)]
    errors += teacher.errors if teacher is not None else ()
    return _Evidence(
        folder=folder,
        pictures=pictures,
        pairs=list(pairs_within(pictures)),
        leaks=_leaks(request.against, pictures),
        manifest=make_manifest(folder),
        labelled=labelled,
        labelled_pictures=tuple(image.path.name for image in dataset.images) if dataset is not None else (),
        model=model,
        teacher=teacher,
        errors=ranked(errors),
    )


def _labels(folder: DataFolder) -> CocoDataset | None:
    if not folder.has_labels:
        return None
    return read_coco(folder.path / ANNOTATIONS_FILE_NAME, folder.images[0].path.parent)


def _teacher(
    request: AuditRequest, folder: DataFolder, labelled: Sequence[AuditedPerson]
) -> TeacherFindings | None:
    if request.teacher is None:
        return None
    if not labelled:
        raise ConfigError(
            f"A teacher checks labels, and {folder.path} has none with keypoints.",
            f"Add {ANNOTATIONS_FILE_NAME}, or leave --teacher out.",
        )
    paths = {image.path.name: image.path for image in folder.images}
    return ask_teacher(labelled, paths, request.teacher, request.teacher_spec, request.progress)


def _leaks(against: Path | None, pictures: Sequence[PictureFacts]) -> tuple[Leak, ...]:
    return () if against is None else leaks_between(pictures, facts_of(open_data_folder(against)))


def _report(request: AuditRequest, seen: _Evidence) -> DataAuditReport:
    poses_from, persons, looked_at = seen.persons
    slices, balance = coverage(seen.pictures, persons, looked_at)
    figures = person_figures(persons, poses_from)
    brightness = np.array([picture.brightness for picture in seen.pictures])
    licences = licences_of(seen.manifest)
    ranges = seen.model.ranges if seen.model is not None else None
    teacher = seen.teacher.agreement if seen.teacher is not None else None
    problems = _problems(request, seen)
    missing = [
        *verdict.missing_slices(slices, balance),
        *verdict.missing_persons(figures, len(looked_at)),
        *verdict.missing_quality(seen.errors, len(seen.labelled), teacher, ranges),
        *verdict.shared_scenes(seen.leaks, str(request.against)),
        *verdict.missing_licences(licences),
    ]
    return DataAuditReport(
        folder=str(request.folder),
        digest=seen.folder.digest,
        counts=seen.folder.counts,
        unreadable_files=tuple(path.name for path in seen.folder.unreadable),
        duplicate_groups=_exact_copies(seen.folder),
        near_duplicate_groups=_alike(seen, COPY_CORRELATION),
        same_scene_groups=_alike(seen, SCENE_CORRELATION),
        distinct_pictures=distinct_pictures(seen.pictures, seen.pairs),
        minimum_pictures=request.minimum,
        brightness_low=float(brightness.min()),
        brightness_median=float(np.median(brightness)),
        brightness_high=float(brightness.max()),
        pictures=picture_figures(seen.pictures),
        persons=figures,
        slices=slices,
        balance=balance,
        label_errors=seen.errors,
        label_error_counts=counts_by_kind(seen.errors),
        licences=licences,
        fit=not problems,
        problems=tuple(problems),
        missing=tuple(missing),
        against=None if request.against is None else str(request.against),
        leaked_files=tuple(leak.file for leak in seen.leaks if leak.kind == "same_bytes"),
        leaks=seen.leaks,
        teacher=teacher,
        parity=seen.model.parity if seen.model is not None else None,
        ranges=ranges,
    )


def _problems(request: AuditRequest, seen: _Evidence) -> list[str]:
    return [
        *unfit_because(seen.pictures, seen.pairs, request.minimum, unreadable=len(seen.folder.unreadable)),
        *verdict.leak_problems(seen.leaks, str(request.against)),
        *verdict.label_problems(seen.errors),
        *verdict.parity_problems(seen.model.parity if seen.model is not None else None),
    ]


def _exact_copies(folder: DataFolder) -> tuple[tuple[str, ...], ...]:
    names: dict[str, list[str]] = defaultdict(list)
    for image in folder.images:
        names[image.sha256].append(image.path.name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)


def _alike(seen: _Evidence, least: float) -> tuple[tuple[str, ...], ...]:
    """Groups of pictures that correlate at least so much and are not only the same bytes."""
    groups = grouped(len(seen.pictures), [pair for pair in seen.pairs if pair.correlation >= least])
    return tuple(
        tuple(seen.pictures[index].path.name for index in group)
        for group in groups
        if len({seen.pictures[index].sha256 for index in group}) > 1
    )
