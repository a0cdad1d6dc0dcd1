"""Labels against a teacher model that sees the labelled persons through the shipping ``PosePipeline``.

A teacher is no truth: it is heard only where it is confident, and what it says is a reason to look.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.audit.audited_person import AuditedPerson, part_names
from edgepose.pose.poses import Poses
from edgepose.records.data_audit import LabelError, TeacherAgreement
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.model_file import sha256_of_model
from edgepose.runtime.open_model import open_pipeline
from edgepose.runtime.pipeline import PosePipeline
from edgepose.runtime.preprocess import Image

Progress = Callable[[int, int], None]
_MIN_CONFIDENCE = 0.4
_MAX_DISAGREEING_OKS = 0.5
# The crossed reading must fit this much better, on the scale of OKS, for both keypoints of a pair.
_MIN_SWAP_GAIN = 0.5


class TeacherFindings(NamedTuple):
    """What the teacher says over all compared persons, and suspicious labels in their order."""

    agreement: TeacherAgreement
    errors: tuple[LabelError, ...]


@dataclass(frozen=True, eq=False)
class _Shared:
    """The keypoints that label and teacher both know: label's and teacher's indices, and sigmas."""

    mine: NDArray[np.intp]
    teachers: NDArray[np.intp]
    sigmas: NDArray[np.float64]


def ask_teacher(
    persons: Sequence[AuditedPerson],
    path_of: dict[str, Path],
    teacher: Path,
    spec_file: Path | None = None,
    progress: Progress | None = None,
) -> TeacherFindings:
    """Compares every labelled person with what a model sees in the person's box.

    Args:
        persons: From ``labelled_persons``.
        path_of: Image name to file; persons in other images are left out.
        teacher: A pose model whose keypoint names overlap the labels'.
        spec_file: Spec of a model that carries none.
        progress: Called with (images done, images in all).

    Raises:
        ConfigError: Teacher and labels share no keypoint, or an image vanished.
        ModelError: The model is damaged or disagrees with its spec.
        MissingDependencyError: Its runtime is not installed.
    """
    pipeline = open_pipeline(teacher, spec_file)
    by_file: dict[str, list[AuditedPerson]] = defaultdict(list)
    for person in persons:
        if person.file in path_of:
            by_file[person.file].append(person)
    similarities: list[float] = []
    errors: list[LabelError] = []
    for done, (file, inside) in enumerate(by_file.items(), start=1):
        shared = _shared_keypoints(inside[0].names, pipeline)
        image = read_image_rgb(path_of[file])
        for person, poses in zip(inside, _poses(pipeline, image, inside), strict=True):
            compared = _compare(person, poses, shared)
            if compared is not None:
                similarities.append(compared[0])
                errors.extend(compared[1])
        if progress is not None:
            progress(done, len(by_file))
    agreement = TeacherAgreement(
        model_sha256=sha256_of_model(teacher),
        persons=len(similarities),
        mean_oks=float(np.mean(similarities)) if similarities else None,
        median_oks=float(np.median(similarities)) if similarities else None,
    )
    return TeacherFindings(agreement, tuple(errors))


def _shared_keypoints(names: tuple[str, ...], pipeline: PosePipeline) -> _Shared:
    skeleton = pipeline.spec.pose_skeleton
    common = [name for name in names if name in skeleton.keypoint_names]
    if not common:
        raise ConfigError(
            f"The teacher '{pipeline.spec.name}' knows none of the labelled keypoints "
            f"({', '.join(names[:4])} and so on).",
            "Give a --teacher whose skeleton has the labels' names.",
        )
    teachers = np.array(skeleton.indices_of(common), dtype=np.intp)
    mine = np.array([names.index(name) for name in common], dtype=np.intp)
    return _Shared(mine, teachers, skeleton.sigmas[teachers])


def _poses(pipeline: PosePipeline, image: Image, persons: Sequence[AuditedPerson]) -> list[Poses]:
    """The poses that may be each person's: one where the model takes boxes, else all in the image."""
    boxes = np.array([person.box_xyxy_px for person in persons])
    found = pipeline.estimate(image, boxes)
    if not pipeline.spec.uses_person_boxes:
        return [found] * len(persons)
    return [found.select(np.array([index])) for index in range(len(persons))]


def _compare(person: AuditedPerson, poses: Poses, shared: _Shared) -> tuple[float, list[LabelError]] | None:
    """OKS and errors; None where nothing can be compared."""
    known = person.there[shared.mine]
    if not known.any() or not len(poses):
        return None
    seen, labelled = poses.keypoints_px[:, shared.teachers], person.keypoints_px[shared.mine]
    # (N, S): of every pose and shared keypoint.
    fits = _terms(seen, labelled, shared.sigmas, person.area_px2)
    similarities = (fits * known).sum(axis=1) / known.sum()
    best = int(similarities.argmax())
    oks = float(similarities[best])
    confidence = np.clip(poses.keypoint_scores[best][shared.teachers].astype(np.float64), 0, 1)
    sure = float(confidence[known].mean())
    errors = []
    swap = _swap(person, poses.keypoints_px[best], confidence, shared)
    if swap is not None:
        errors.append(swap)
    elif oks < _MAX_DISAGREEING_OKS and sure >= _MIN_CONFIDENCE:
        far = [person.names[i] for i in shared.mine[known & (fits[best] < 0.5) & (confidence >= 0.3)]]
        reason = f"OKS {oks:.2f} with a teacher that is {sure:.2f} sure; off: {', '.join(far[:4]) or 'all'}"
        errors.append(person.error("teacher_disagrees", (1 - oks) * sure, reason))
    return oks, errors


def _terms(
    seen_px: NDArray[np.floating],
    labelled_px: NDArray[np.floating],
    sigmas: NDArray[np.float64],
    area_px2: float,
) -> NDArray[np.float64]:
    """What each keypoint adds to the OKS."""
    squared = np.square(seen_px.astype(np.float64) - labelled_px).sum(axis=-1)
    return np.asarray(np.exp(-squared / (2 * (area_px2 + np.spacing(1)) * np.square(2 * sigmas))))


def _swap(
    person: AuditedPerson, seen_px: NDArray[np.float32], confidence: NDArray[np.float64], shared: _Shared
) -> LabelError | None:
    """The parts where the teacher sees left and right the other way round."""
    place = {person.names[mine]: index for index, mine in enumerate(shared.mine)}
    found: dict[str, float] = {}
    for part in part_names(person.names):
        names = (f"left_{part}", f"right_{part}")
        labelled = person.pair(part)
        if labelled is None or not all(name in place for name in names):
            continue
        indices = np.array([place[name] for name in names])
        if confidence[indices].min() < _MIN_CONFIDENCE:
            continue
        seen, sigmas = seen_px[shared.teachers[indices]], shared.sigmas[indices]
        straight = _terms(seen, np.array(labelled), sigmas, person.area_px2).mean()
        crossed = _terms(seen[::-1], np.array(labelled), sigmas, person.area_px2).mean()
        if crossed - straight > _MIN_SWAP_GAIN:
            found[part] = float((crossed - straight) * confidence[indices].mean())
    if not found:
        return None
    reason = f"the teacher sees left and right of {', '.join(found)} the other way round"
    # Two parts that agree are surer than one.
    score = 1 - float(np.prod([1 - value for value in found.values()]))
    return person.error("left_right_swapped", score, reason)
