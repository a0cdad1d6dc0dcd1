"""The whole audit of a data folder: looks at everything, then says what refuses it and what is missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.data.audit.audited_person import AuditedPerson, labelled_persons
from edgepose.host.data.audit.coverage import PosesFrom, coverage, image_figures, person_figures
from edgepose.host.data.audit.fitness import (
    HINT,
    distinct_images,
    leaks_between,
    measure_folder,
    unfit_because,
)
from edgepose.host.data.audit.label_errors import counts_by_kind, ranked, suspicious_labels, wrong_sizes
from edgepose.host.data.audit.label_teacher import TeacherFindings, ask_teacher
from edgepose.host.data.audit.model_findings import AuditRequest, ask_model
from edgepose.host.data.audit.near_copies import (
    COPY_CORRELATION,
    SCENE_CORRELATION,
    ImageFacts,
    NearPair,
    grouped,
    measure_image,
    pairs_within,
)
from edgepose.host.data.coco import read_coco
from edgepose.host.data.data_folder import (
    ANNOTATIONS_FILE_NAME,
    UNKNOWN,
    DataFolder,
    licences_of,
    make_manifest,
    open_data_folder,
)
from edgepose.records.data_audit import (
    DataAuditReport,
    GroupBalance,
    LabelError,
    Leak,
    PersonFigures,
    PreprocessParity,
    RangeStability,
    SliceCount,
    TeacherAgreement,
)

# A bin under this share (or under one image or person) counts as missing.
_MIN_SHARE = 0.02
_MAX_BIN_SHARE = 0.95
# A group where fewer are known says little about what is missing.
_FEWEST_KNOWN = 16
_MAX_RANGE_RATIO = 1.5
_MAX_WRONG_SHARE = 0.05
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


def _leak_problems(leaks: Sequence[Leak], against: Path | None) -> list[str]:
    """A sentence where images are in both folders; images of one scene alone are no problem."""
    leaks = [leak for leak in leaks if leak.kind != "same_scene"]
    if not leaks:
        return []
    same = sum(leak.kind == "same_bytes" for leak in leaks)
    near = len(leaks) - same
    kinds = [f"{n} {what}" for n, what in ((same, "with the same bytes"), (near, "as near copies")) if n]
    files = ", ".join(leak.file for leak in leaks[:5]) + (" and more" if len(leaks) > 5 else "")
    return [f"{len(leaks)} pictures are in {against} too, {' and '.join(kinds)}: {files}."]


def _shared_scenes(leaks: Sequence[Leak], against: Path | None) -> list[str]:
    """Advice where images of both folders look alike without being copies."""
    alike = [leak for leak in leaks if leak.kind == "same_scene"]
    return [
        f"other scenes than in {against}: {len(alike)} look alike, first {leak.file} and {leak.other}"
        for leak in alike[:1]
    ]


def _size_problems(errors: Sequence[LabelError]) -> list[str]:
    """A sentence where images do not have the size that their labels say: such labels are all wrong."""
    wrong = [error for error in errors if error.kind == "size_mismatch"]
    return [
        f"{len(wrong)} pictures do not have their labels' size, first {first.file}: {first.reason}."
        for first in wrong[:1]
    ]


def _parity_problems(parity: PreprocessParity | None) -> list[str]:
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


def missing_persons(persons: PersonFigures, images: int) -> list[str]:
    """What is not known about persons."""
    if persons.poses_from == "none":
        return ["labels or --model: poses, scales and persons per picture are not known"]
    if persons.persons == 0:
        return [f"persons: none found in {images} pictures"]
    rare = [name for name, share in persons.keypoint_visibility.items() if share < _MIN_KEYPOINT_SHARE]
    return [f"keypoints that are hardly ever there: {', '.join(rare)}"] if rare else []


def _missing_quality(
    errors: Sequence[LabelError],
    persons: int,
    teacher: TeacherAgreement | None,
    ranges: RangeStability | None,
) -> list[str]:
    """Advice on labels and ranges."""
    found = []
    sure = {(e.file, e.annotation_id) for e in errors if e.score >= _SURE_SCORE}
    if persons and len(sure) / persons > _MAX_WRONG_SHARE:
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


def audit_folder(request: AuditRequest) -> DataAuditReport:
    """Audits a data folder.

    Raises:
        ConfigError: A folder is missing, has damaged labels or manifest, or holds no usable image; or a
            model has no spec.
        ModelError: A model is damaged or disagrees with its spec.
        MissingDependencyError: The runtime of a model is not installed.
    """
    folder = open_data_folder(request.folder)
    images = []
    for done, image in enumerate(folder.images, start=1):
        images.append(measure_image(image.path, image.sha256))
        request.progress(done, len(folder.images))
    model = ask_model(request, folder, images)
    parity, ranges = (None, None) if model is None else (model.parity, model.ranges)
    labelled, looked_at = _labelled(folder)
    poses_from: PosesFrom = "labels" if labelled else "none"
    persons: Sequence[AuditedPerson] = labelled
    if model is not None and not labelled:
        poses_from, persons, looked_at = "model", model.persons, model.looked_at
    teacher = _ask_teacher(request, folder, labelled)
    agreement, disagreements = (None, ()) if teacher is None else teacher
    errors = ranked([*suspicious_labels(labelled), *wrong_sizes(labelled, images), *disagreements])
    pairs, leaks = list(pairs_within(images)), _leaks(request.against, images)
    slices, balance = coverage(images, persons, looked_at)
    figures = person_figures(persons, poses_from)
    brightness = np.array([image.brightness for image in images])
    licences = licences_of(make_manifest(folder))
    unknown = licences.get(UNKNOWN, 0)
    problems = [
        *unfit_because(images, pairs, request.minimum, unreadable=len(folder.unreadable)),
        *_leak_problems(leaks, request.against),
        *_size_problems(errors),
        *_parity_problems(parity),
    ]
    missing = [
        *missing_slices(slices, balance),
        *missing_persons(figures, len(looked_at)),
        *_missing_quality(errors, len(labelled), agreement, ranges),
        *_shared_scenes(leaks, request.against),
        *([f"licences of {unknown} of {sum(licences.values())} pictures"] if unknown else []),
    ]
    return DataAuditReport(
        folder=str(request.folder),
        digest=folder.digest,
        counts=folder.counts,
        unreadable_files=tuple(path.name for path in folder.unreadable),
        duplicate_groups=_exact_copies(folder),
        near_duplicate_groups=_alike(images, pairs, COPY_CORRELATION),
        same_scene_groups=_alike(images, pairs, SCENE_CORRELATION),
        distinct_pictures=distinct_images(images, pairs),
        minimum_pictures=request.minimum,
        brightness_low=float(brightness.min()),
        brightness_median=float(np.median(brightness)),
        brightness_high=float(brightness.max()),
        pictures=image_figures(images),
        persons=figures,
        slices=slices,
        balance=balance,
        label_errors=errors,
        label_error_counts=counts_by_kind(errors),
        licences=licences,
        fit=not problems,
        problems=tuple(problems),
        missing=tuple(missing),
        against=None if request.against is None else str(request.against),
        leaked_files=tuple(leak.file for leak in leaks if leak.kind == "same_bytes"),
        leaks=leaks,
        teacher=agreement,
        parity=parity,
        ranges=ranges,
    )


def refuse_unfit_report(report: DataAuditReport) -> None:
    """Ends an audit that found a problem, after its report was written.

    Raises:
        ConfigError: The folder is not fit; the message names every problem.
    """
    if not report.fit:
        raise ConfigError(f"{report.folder} is not fit: {' '.join(report.problems)}", HINT)


def _labelled(folder: DataFolder) -> tuple[list[AuditedPerson], Sequence[str]]:
    """The labelled persons, and the names of all images that the labels list."""
    if not folder.has_labels:
        return [], ()
    dataset = read_coco(folder.path / ANNOTATIONS_FILE_NAME, folder.images[0].path.parent)
    persons = labelled_persons(dataset)
    return persons, [image.path.name for image in dataset.images] if persons else ()


def _ask_teacher(
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


def _leaks(against: Path | None, images: Sequence[ImageFacts]) -> tuple[Leak, ...]:
    return () if against is None else leaks_between(images, measure_folder(open_data_folder(against)))


def _exact_copies(folder: DataFolder) -> tuple[tuple[str, ...], ...]:
    names: dict[str, list[str]] = defaultdict(list)
    for image in folder.images:
        names[image.sha256].append(image.path.name)
    return tuple(tuple(group) for group in names.values() if len(group) > 1)


def _alike(
    images: Sequence[ImageFacts], pairs: Sequence[NearPair], least: float
) -> tuple[tuple[str, ...], ...]:
    """Groups of images that correlate at least so much and are not only the same bytes."""
    groups = grouped(len(images), [pair for pair in pairs if pair.correlation >= least])
    return tuple(
        tuple(images[index].path.name for index in group)
        for group in groups
        if len({images[index].sha256 for index in group}) > 1
    )
