"""Where each person is looked for in the next frame: by a detector now and then, by the keypoints between."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from edgepose.device.run.tracking import best_pairs
from edgepose.pose.boxes import iou_matrix
from edgepose.pose.poses import Poses
from edgepose.pose.similarity import BOX_TO_MASK_AREA, oks_matrix

Box = NDArray[np.float32]


@dataclass(frozen=True)
class FollowOptions:
    """How a box is made from keypoints.

    Attributes:
        min_keypoint_score: Keypoints below do not shape the box.
        min_keypoints: Fewer confident keypoints than this are no person to follow.
        growth: Both sides are multiplied by this: keypoints lie inside the body, labelled boxes around it,
            and the person moves until the next frame.
        min_side_share: A box side is at least this share of the image's shorter side.
    """

    min_keypoint_score: float = 0.2
    min_keypoints: int = 4
    growth: float = 1.25
    min_side_share: float = 0.04


def box_to_follow(poses: Poses, image_wh: tuple[int, int], options: FollowOptions) -> Box | None:
    """Says where the person of this frame (``poses`` has none or one) will be in the next one.

    Returns:
        (4,) xyxy in image pixels, inside the image and never empty; None: look at the whole image.
    """
    if not len(poses):
        return None
    # Plain floats: this runs for every frame, and a dozen calls of numpy cost more than the numbers do.
    scored = zip(poses.keypoints_px[0].tolist(), poses.keypoint_scores[0].tolist(), strict=True)
    seen = [point for point, score in scored if score >= options.min_keypoint_score]
    if len(seen) < max(options.min_keypoints, 2) or not all(map(isfinite, chain.from_iterable(seen))):
        return None
    least_px = options.min_side_share * min(image_wh)
    sides = []
    for along, limit in zip(zip(*seen, strict=True), image_wh, strict=True):
        low, high = min(along), max(along)
        centre, half = (low + high) / 2, max((high - low) * options.growth, least_px) / 2
        sides.append((min(max(centre - half, 0.0), limit), min(max(centre + half, 0.0), limit)))
    (left, right), (top, bottom) = sides
    if right - left < 1 or bottom - top < 1:
        return None
    return np.array([left, top, right, bottom], np.float32)


Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class FollowingOptions:
    """How persons are followed.

    Attributes:
        same_iou: A detected and a followed box that overlap by this are one person.
        duplicate_oks: Two poses this much alike are one person that was found twice: the weaker goes.
    """

    same_iou: float = 0.3
    duplicate_oks: float = 0.7
    box: FollowOptions = field(default_factory=FollowOptions)


@dataclass(frozen=True)
class _Person:
    box_px: Boxes
    score: float
    keypoints_px: NDArray[np.float32] | None = None


class FollowedPersons:
    """Everybody who is in sight, with the box for the next frame.

    A frame goes: ``needs_detection``; where it does ``detected``; ``boxes`` and ``scores`` for the pose
    model; ``seen`` with what the model made of them.
    """

    def __init__(self, options: FollowingOptions | None = None) -> None:
        self._options = options or FollowingOptions()
        self._persons: list[_Person] = []
        self._frames_since_detection = 0
        self._somebody_lost = False

    def needs_detection(self, every: int) -> bool:
        """Every so many frames; at once where no one is followed, or where someone was just lost."""
        return self._frames_since_detection >= every or not self._persons or self._somebody_lost

    def detected(self, boxes_px: Boxes, scores: NDArray[np.floating]) -> None:
        """Takes the detector's word on who is there and where: ``boxes_px`` (N, 4) xyxy, ``scores`` (N,).

        A person whom the detector overlooks stays: the pose model decides who is lost.
        """
        followed = np.stack([p.box_px for p in self._persons]) if self._persons else np.zeros((0, 4))
        same = dict(best_pairs(iou_matrix(boxes_px, followed), self._options.same_iou))
        found = [
            _Person(boxes_px[row], float(scores[row]), self._persons[same[row]].keypoints_px)
            if row in same
            else _Person(boxes_px[row], float(scores[row]))
            for row in range(len(boxes_px))
        ]
        known = set(same.values())
        self._persons = found + [p for index, p in enumerate(self._persons) if index not in known]
        self._frames_since_detection = 0

    @property
    def boxes(self) -> Boxes:
        """(N, 4): where to look in this frame."""
        return np.stack([p.box_px for p in self._persons]) if self._persons else np.zeros((0, 4), np.float32)

    @property
    def scores(self) -> NDArray[np.float32]:
        """(N,): what the detector last said about each."""
        return np.array([p.score for p in self._persons], np.float32)

    def seen(self, poses: Poses, accepted: NDArray[np.bool_], image_wh: tuple[int, int]) -> NDArray[np.bool_]:
        """Takes what the pose model saw, one pose for each of ``boxes``; whom it does not see is lost.

        Returns:
            (N,), which of them are reported: accepted, and no one twice.
        """
        twice = _duplicates(poses, accepted, self._options.duplicate_oks)
        reported = accepted & ~twice
        after = [
            self._after(person, poses.select(np.array([row])), image_wh) if reported[row] else None
            for row, person in enumerate(self._persons)
        ]
        # Someone whom only the detector saw was never in sight, and who was found twice is still there.
        self._somebody_lost = any(
            person.keypoints_px is not None and after[row] is None and not twice[row]
            for row, person in enumerate(self._persons)
        )
        self._persons = [person for person in after if person is not None]
        self._frames_since_detection += 1
        return reported

    def _after(self, before: _Person, pose: Poses, image_wh: tuple[int, int]) -> _Person | None:
        box = box_to_follow(pose, image_wh, self._options.box)
        if box is None:
            return None
        points = pose.keypoints_px[0]
        shifted = box + np.tile(_shift(before, pose), 2)
        limits = np.tile(np.array(image_wh, np.float32), 2)
        moved = np.clip(shifted, 0, limits).astype(np.float32)
        inside = (moved[2:] - moved[:2]).min() >= 1
        return _Person(moved if inside else box, before.score, points)


def _shift(before: _Person, pose: Poses) -> NDArray[np.float32]:
    """(2,) pixels that the person went since the last frame, and will go until the next."""
    seen = pose.keypoint_scores[0] >= FollowOptions().min_keypoint_score
    if before.keypoints_px is None or not seen.any():
        return np.zeros(2, np.float32)
    return np.asarray(np.median(pose.keypoints_px[0][seen] - before.keypoints_px[seen], axis=0))


def _duplicates(poses: Poses, accepted: NDArray[np.bool_], least_oks: float) -> NDArray[np.bool_]:
    """(N,): persons of whom a better pose was found too."""
    duplicate = np.zeros(len(poses), bool)
    rows = np.flatnonzero(accepted)
    if len(rows) < 2:
        return duplicate
    points = poses.keypoints_px[rows]
    longer = np.ptp(points, axis=1).max(axis=-1).astype(np.float64)
    everything = np.ones(points.shape[:2], bool)
    alike = oks_matrix(points, points, everything, longer**2 * BOX_TO_MASK_AREA, poses.skeleton.sigmas)
    kept: list[int] = []
    for index in np.argsort(-poses.scores[rows], kind="stable").tolist():
        if any(alike[index, other] > least_oks for other in kept):
            duplicate[rows[index]] = True
        else:
            kept.append(index)
    return duplicate
