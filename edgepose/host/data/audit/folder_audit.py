"""The whole audit of a data folder: looks at everything, then says what refuses it and what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.data.audit.audited_person import AuditedPerson, labelled_persons
from edgepose.host.data.audit.coverage import PosesFrom, coverage, person_figures, picture_figures
from edgepose.host.data.audit.fitness import HINT, distinct_pictures, unfit_because
from edgepose.host.data.audit.image_facts import PictureFacts, picture_facts
from edgepose.host.data.audit.label_errors import counts_by_kind, ranked, suspicious_labels, wrong_sizes
from edgepose.host.data.audit.label_teacher import TeacherFindings, ask_teacher
from edgepose.host.data.audit.manifest import UNKNOWN, licences_of, make_manifest
from edgepose.host.data.audit.model_findings import AuditRequest, ModelFindings, ask_model
from edgepose.host.data.audit.near_copies import (
    COPY_CORRELATION,
    SCENE_CORRELATION,
    NearPair,
    facts_of,
    grouped,
    leaks_between,
    pairs_within,
)
from edgepose.host.data.coco import CocoDataset, read_coco
from edgepose.host.data.data_folder import ANNOTATIONS_FILE_NAME, DataFolder, open_data_folder
from edgepose.records.data_audit import (
    DataAuditReport,
    DatasetManifest,
    GroupBalance,
    LabelError,
    Leak,
    PersonFigures,
    PreprocessParity,
    RangeStability,
    SliceCount,
    TeacherAgreement,
)

# A bin under this share (or under one picture or person) counts as missing.
_MIN_SHARE = 0.02
_MAX_BIN_SHARE = 0.95
# A group where fewer are known says little about what is missing.
_FEWEST_KNOWN = 16
_MAX_RANGE_RATIO = 1.5
_MAX_WORD_SHARE = 0.05
_MIN_TEACHER_OKS = 0.5
_MIN_KEYPOINT_SHARE = 0.05
_SURE_SCORE = 0.6
_MISSING_WORDS = {
    ("brightness", "dark"): "dark pictures (mean grey under 60)",
    ("brightness", "bright"): "bright pictures (mean grey from 150)",
    ("contrast", "low"): "pictures of low contrast (fog, dusk, backlight)",
    ("contrast", "high"): "pictures of high contrast",
    ("sharpness", "blurred"): "blurred pictures, as moving persons make them",
    ("scale", "tiny"): "far persons (under 15 % of the picture's height)",
    ("scale", "small"): "small persons (15 to 35 % of the picture's height)",
    ("scale", "large"): "near persons (from 65 % of the picture's height)",
    ("torso", "leaning"): "leaning persons",
    ("torso", "lying"): "lying persons",
    ("facing", "front"): "persons seen from the front",
    ("facing", "side"): "persons seen from the side",
    ("facing", "back"): "persons seen from behind",
    ("arms", "raised"): "persons with raised arms",
    ("legs", "sitting"): "sitting persons",
    ("legs", "knees_bent"): "persons with bent knees",
    ("completeness", "truncated"): "persons cut by the picture's border",
    ("completeness", "occluded"): "persons partly hidden",
}


def leak_problems(leaks: Sequence[Leak], against: str) -> list[str]:
    """A sentence where pictures are in both folders; pictures of one scene alone are no problem."""
    leaks = [leak for leak in leaks if leak.kind != "same_scene"]
    if not leaks:
        return []
    same = sum(leak.kind == "same_bytes" for leak in leaks)
    near = len(leaks) - same
    kinds = [f"{n} {what}" for n, what in ((same, "with the same bytes"), (near, "as near copies")) if n]
    files = ", ".join(leak.file for leak in leaks[:5]) + (" and more" if len(leaks) > 5 else "")
    return [f"{len(leaks)} pictures are in {against} too, {' and '.join(kinds)}: {files}."]


def shared_scenes(leaks: Sequence[Leak], against: str) -> list[str]:
    """Advice where pictures of both folders look alike without being copies."""
    alike = [leak for leak in leaks if leak.kind == "same_scene"]
    if not alike:
        return []
    first = alike[0]
    return [f"other scenes than in {against}: {len(alike)} look alike, first {first.file} and {first.other}"]


def label_problems(errors: Sequence[LabelError]) -> list[str]:
    """A sentence where pictures do not have the size that their labels say: such labels are all wrong."""
    wrong = [error for error in errors if error.kind == "size_mismatch"]
    if not wrong:
        return []
    return [
        f"{len(wrong)} pictures do not have their labels' size, first {wrong[0].file}: {wrong[0].reason}."
    ]


def parity_problems(parity: PreprocessParity | None) -> list[str]:
    """Sentences where the preprocessing is not what the spec describes, or the spec cannot be right."""
    if parity is None:
        return []
    problems = []
    if not parity.agrees:
        problems.append(
            "The device's preprocessing differs from the spec's by "
            f"{parity.mean_error_levels:.2f} grey levels on average."
        )
    if not parity.normalisation_as_expected:
        mean = ", ".join(f"{value:.3g}" for value in parity.input_mean)
        std = ", ".join(f"{value:.3g}" for value in parity.input_std)
        problems.append(
            f"The model's input has mean ({mean}) and deviation ({std}) on these pictures, which normalized "
            "natural pictures do not have: check mean and std in the spec (they are for pixels 0 to 255)."
        )
    return problems


def missing_slices(slices: Sequence[SliceCount], balance: Sequence[GroupBalance]) -> list[str]:
    """Bins that are empty or nearly so, and groups that lie in one bin."""
    known = {group.group: group.known for group in balance}
    found = [
        f"more persons to judge poses by: {name} is known of {count} only"
        for name, count in known.items()
        if 0 < count < _FEWEST_KNOWN
    ]
    slices = [entry for entry in slices if known[entry.group] >= _FEWEST_KNOWN]
    for entry in slices:
        words = _MISSING_WORDS.get((entry.group, entry.name))
        if words is not None and entry.share < _MIN_SHARE:
            amount = "no" if entry.count == 0 else f"only {entry.count} of {known[entry.group]}"
            found.append(f"{amount} {words}")
    fullest = {entry.group: entry for entry in sorted(slices, key=lambda entry: entry.share)}
    found += [
        f"nearly everything in one bin: {group} is {entry.name} in {entry.share:.0%}"
        for group, entry in fullest.items()
        if entry.share > _MAX_BIN_SHARE
    ]
    return found


def missing_persons(persons: PersonFigures, pictures: int) -> list[str]:
    """What is not known about persons."""
    if persons.poses_from == "none":
        return ["labels or --model: poses, scales and persons per picture are not known"]
    if persons.persons == 0:
        return [f"persons: none found in {pictures} pictures"]
    rare = [name for name, share in persons.keypoint_visibility.items() if share < _MIN_KEYPOINT_SHARE]
    return [f"keypoints that are hardly ever there: {', '.join(rare)}"] if rare else []


def missing_licences(licences: dict[str, int]) -> list[str]:
    """Pictures without a stated licence."""
    unknown = licences.get(UNKNOWN, 0)
    return [f"licences of {unknown} of {sum(licences.values())} pictures"] if unknown else []


def missing_quality(
    errors: Sequence[LabelError],
    persons: int,
    teacher: TeacherAgreement | None,
    ranges: RangeStability | None,
) -> list[str]:
    """Advice on labels and ranges."""
    found = []
    sure = {(e.file, e.annotation_id) for e in errors if e.score >= _SURE_SCORE}
    if persons and len(sure) / persons > _MAX_WORD_SHARE:
        found.append(f"a look at the labels: {len(sure)} of {persons} persons look wrong")
    if teacher is not None and teacher.mean_oks is not None and teacher.mean_oks < _MIN_TEACHER_OKS:
        found.append(
            f"agreement of labels and teacher: mean OKS {teacher.mean_oks:.2f}, one of them is of little use"
        )
    if ranges is not None and ranges.p95_ratio > _MAX_RANGE_RATIO:
        found.append(
            f"pictures for stable ranges: two halves of {ranges.crops_each} differ by a factor of "
            f"{ranges.p95_ratio:.2f} or more in 5 % of the tensors"
        )
    return found


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
        leaks=()
        if request.against is None
        else leaks_between(pictures, facts_of(open_data_folder(request.against))),
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


def _report(request: AuditRequest, seen: _Evidence) -> DataAuditReport:
    poses_from, persons, looked_at = seen.persons
    slices, balance = coverage(seen.pictures, persons, looked_at)
    figures = person_figures(persons, poses_from)
    brightness = np.array([picture.brightness for picture in seen.pictures])
    licences = licences_of(seen.manifest)
    ranges = seen.model.ranges if seen.model is not None else None
    teacher = seen.teacher.agreement if seen.teacher is not None else None
    problems = [
        *unfit_because(seen.pictures, seen.pairs, request.minimum, unreadable=len(seen.folder.unreadable)),
        *leak_problems(seen.leaks, str(request.against)),
        *label_problems(seen.errors),
        *parity_problems(seen.model.parity if seen.model is not None else None),
    ]
    missing = [
        *missing_slices(slices, balance),
        *missing_persons(figures, len(looked_at)),
        *missing_quality(seen.errors, len(seen.labelled), teacher, ranges),
        *shared_scenes(seen.leaks, str(request.against)),
        *missing_licences(licences),
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
