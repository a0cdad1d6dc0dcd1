"""Words for what was found: problems that refuse a folder, and what is missing."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.host.data.audit.manifest import UNKNOWN
from edgepose.records.data_audit import (
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
