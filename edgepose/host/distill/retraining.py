"""A device's request for a better model, taken as the job of a distillation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np

from edgepose.errors import ConfigError
from edgepose.host.distill.persons import TrainingPerson
from edgepose.host.distill.students import STUDENTS
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import Skeleton
from edgepose.records.distillation_report import DriftCoverage, RetrainingAnswer
from edgepose.records.drift_record import DriftEvent, FeatureName, RetrainingRequest
from edgepose.records.record import read_json
from edgepose.runtime.drift_features import FEATURES, PoseSampler, Samples, image_samples, no_samples
from edgepose.runtime.image_file import read_image_rgb
from edgepose.trust.digests import sha256_of_path

# A model that is no one's student is answered by the one that ships.
DEFAULT_STUDENT = "edgepose-s"
# What images and labels show by themselves; the rest takes a model and a camera.
_SHOWN: frozenset[FeatureName] = frozenset(
    ("brightness", "sharpness", "scale", "visibility", "leg_ratio", "arm_ratio", "tilt")
)
_MOST_PICTURES = 200


def read_request(path: Path) -> RetrainingRequest:
    """The request as a device wrote it.

    Raises:
        ConfigError: It is missing, damaged, or nothing drifted in it.
    """
    request = read_json(path, RetrainingRequest)
    if not request.drifted:
        raise ConfigError(f"{path}: nothing drifted.", "Take the request of a device on which something did.")
    return request


def student_for(request: RetrainingRequest) -> str:
    """The student that replaces the model that drifted: the same network where it was a student's."""
    return request.model if request.model in STUDENTS else DEFAULT_STUDENT


def answer_to(path: Path, persons: Sequence[TrainingPerson], skeleton: Skeleton) -> RetrainingAnswer:
    """Looks whether the training images show what the device sees.

    Raises:
        ConfigError: The request or an image is not readable.
    """
    request = read_request(path)
    samples, images = _samples(persons, skeleton)
    return RetrainingAnswer(
        request_sha256=sha256_of_path(path),
        model=request.model,
        model_sha256=request.model_sha256,
        bundle_version=request.bundle_version,
        pictures=images,
        coverage=tuple(_coverage(event, samples) for event in request.drifted),
    )


def describe_answer(answer: RetrainingAnswer) -> list[str]:
    """A line a drifted feature, for people."""
    lines = [f"answers the request of {answer.model}, bundle version {answer.bundle_version}"]
    for seen in answer.coverage:
        shown = FEATURES[seen.feature].shown
        change = f"{seen.feature} {shown(seen.typical)} instead of {shown(seen.reference)}"
        if seen.share is None:
            lines.append(f"  {change}: whether the training pictures show it cannot be told without a camera")
        elif seen.share == 0:
            lines.append(f"  {change}: none of the training pictures shows it; add pictures that do")
        else:
            lines.append(f"  {change}: {seen.share:.0%} of the training pictures go that far")
    return lines


def _samples(persons: Sequence[TrainingPerson], skeleton: Skeleton) -> tuple[Samples, int]:
    sampler, samples = PoseSampler(skeleton), no_samples()
    by_picture = [list(group) for _, group in groupby(persons, key=lambda person: person.path)]
    chosen = by_picture[:: max(len(by_picture) // _MOST_PICTURES, 1)][:_MOST_PICTURES]
    for together in chosen:
        image = read_image_rgb(together[0].path)
        for name, value in image_samples(image).items():
            samples[name].append(value)
        sampler.sample(_labelled_poses(together, skeleton), image.shape[0], samples)
    return samples, len(chosen)


def _labelled_poses(persons: Sequence[TrainingPerson], skeleton: Skeleton) -> Poses:
    labelled = [person for person in persons if person.labelled.any()]
    if not labelled:
        return Poses.empty(skeleton)
    return Poses(
        keypoints_px=np.stack([person.keypoints_px for person in labelled]).astype(np.float32),
        keypoint_scores=np.stack([person.labelled for person in labelled]).astype(np.float32),
        scores=np.ones(len(labelled), np.float32),
        skeleton=skeleton,
    )


def _coverage(event: DriftEvent, samples: Samples) -> DriftCoverage:
    """A sample shows the change where it is at least halfway from what was usual to what is seen now."""
    now, usual = event.size.typical, event.size.reference
    values, share = np.array(samples[event.feature]), None
    if event.feature in _SHOWN and len(values) and now != usual:
        halfway = (now + usual) / 2
        share = float((values <= halfway if now < usual else values >= halfway).mean())
    return DriftCoverage(feature=event.feature, typical=now, reference=usual, share=share)
