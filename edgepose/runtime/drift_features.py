"""The numbers by which drift is seen: a few an image and a few a person. Host and device use the same.

Nothing of an image remains in them. Places of the histograms are about as far apart as a change that
matters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import Skeleton
from edgepose.records.drift_record import FEATURE_NAMES, FeatureHistogram, FeatureName

# ITU-R BT.601 luma.
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_LINES = 12
# Light changes slowly along a row.
_EVERY = 8
_TINY = 1e-9
_SEEN_SCORE = 0.3

_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_LEGS = (("left_hip", "left_knee", "left_ankle"), ("right_hip", "right_knee", "right_ankle"))
_ARMS = (("left_shoulder", "left_elbow", "left_wrist"), ("right_shoulder", "right_elbow", "right_wrist"))


@dataclass(frozen=True)
class Feature:
    """A feature's scale.

    Attributes:
        places: Where its histogram has weights, rising; values beyond the ends count at the ends.
        meaning: In words, for people.
        low: What it means that it became less.
        high: What it means that it became more.
        is_log2: Whether samples are logarithms to base 2, which people do not want to read.
    """

    places: tuple[float, ...]
    meaning: str
    low: str
    high: str
    is_log2: bool = False

    def shown(self, sample: float) -> str:
        """A sample for people, without the logarithm."""
        return f"{2.0**sample if self.is_log2 else sample:.3g}"


def _places(first: float, last: float, step: float) -> tuple[float, ...]:
    return tuple(round(first + step * n, 6) for n in range(round((last - first) / step) + 1))


FEATURES: dict[FeatureName, Feature] = {
    "brightness": Feature(
        _places(0, 1, 0.1), "mean luma, 0 to 1", "dark pictures", "bright, overexposed pictures"
    ),
    "sharpness": Feature(
        _places(-10, 4, 1),
        "fine detail against contrast",
        "blurred or defocused pictures",
        "noisy or very sharp pictures",
        is_log2=True,
    ),
    "scale": Feature(
        _places(-5, 1, 0.5),
        "person's height in picture heights",
        "persons far away",
        "persons close to the camera",
        is_log2=True,
    ),
    "confidence": Feature(
        _places(0, 1, 0.1), "mean keypoint score", "pictures like those the model is unsure of", ""
    ),
    "visibility": Feature(
        _places(0, 1, 0.1), "share of keypoints that are seen", "persons half hidden or cut off", ""
    ),
    "leg_ratio": Feature(
        _places(-3, 3, 0.5),
        "leg to torso",
        "short legs: seen from above",
        "long legs: from below",
        is_log2=True,
    ),
    "arm_ratio": Feature(
        _places(-3, 3, 0.5), "arm to torso", "arms that look short", "arms that look long", is_log2=True
    ),
    "tilt": Feature(
        _places(-180, 180, 30),
        "torso against upright, degrees",
        "a camera turned left",
        "a camera turned right",
    ),
    "persons": Feature(_places(0, 12, 1), "persons a picture", "fewer persons", "more persons"),
    "jitter": Feature(
        _places(-12, 1, 1),
        "keypoints' unrest in person sizes",
        "",
        "pictures in which keypoints jump",
        is_log2=True,
    ),
    "swaps": Feature(
        _places(0, 1, 0.1), "share of persons whose sides changed", "", "persons seen from behind"
    ),
    "latency": Feature(_places(-2, 14, 0.5), "milliseconds a frame", "", "", is_log2=True),
}

Samples = dict[FeatureName, list[float]]


def no_samples() -> Samples:
    """Nothing of each feature."""
    return {name: [] for name in FEATURE_NAMES}


def image_samples(image: NDArray[np.uint8]) -> dict[FeatureName, float]:
    """Brightness and sharpness.

    Sharpness is the power of second differences, over the variance: a blur takes from the first and leaves
    the second. Only a few rows are looked at, each with its two neighbours: whole rows lie together in
    memory, and columns would cost ten times as much.
    """
    height = image.shape[0]
    step = max(height // _LINES, 1)
    first = min(step // 2, max(height - 3, 0))
    rows = image[first::step]
    brightness = float((rows[:, ::_EVERY].reshape(-1, 3).mean(axis=0, dtype=np.float32) @ _LUMA) / 255.0)
    # Green alone: it has most of the detail in cameras of Bayer filters, and of the luma.
    middle = rows[:, :, 1].astype(np.float32)
    detail, contrast = _TINY, float(middle.var(axis=1).mean()) + _TINY
    if middle.shape[1] > 2:
        detail += _power(middle[:, :-2], middle[:, 1:-1], middle[:, 2:])
    below = image[first + 2 :: step, :, 1].astype(np.float32)
    if len(below):
        between = image[first + 1 :: step, :, 1].astype(np.float32)
        detail += _power(middle[: len(below)], between[: len(below)], below)
    return {"brightness": brightness, "sharpness": float(np.log2(detail / (2 * contrast) + _TINY))}


def _power(one: NDArray[np.float32], two: NDArray[np.float32], three: NDArray[np.float32]) -> float:
    """Mean square of second differences."""
    second = one - two
    second -= two
    second += three
    return float(np.square(second, out=second).mean())


class PoseSampler:
    """Takes the features of persons, skeleton after skeleton.

    Args:
        skeleton: What the keypoints are; features whose keypoints it lacks are left out.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        names = skeleton.keypoint_names
        self._torso = _indices(names, _TORSO)
        self._limbs: dict[FeatureName, list[list[int]]] = {
            "leg_ratio": [found for chain in _LEGS if (found := _indices(names, chain))],
            "arm_ratio": [found for chain in _ARMS if (found := _indices(names, chain))],
        }
        self._mirror = _mirrored(names)
        self._before: dict[int, list[NDArray[np.float32]]] = {}

    def sample(self, poses: Poses, height_px: int, into: Samples) -> None:
        """Adds the samples of one image's persons."""
        into["persons"].append(float(len(poses)))
        for person in range(len(poses)):
            keypoints, scores = poses.keypoints_px[person], poses.keypoint_scores[person]
            self._sample_person(keypoints, scores, height_px, into)
        # Frames before the last sample are too far away to tell unrest by.
        self._before = {}
        self.sample_motion(poses, into)

    def _sample_person(
        self, keypoints: NDArray[np.float32], scores: NDArray[np.float32], height_px: int, into: Samples
    ) -> None:
        seen = scores >= _SEEN_SCORE
        into["confidence"].append(float(scores.mean()))
        into["visibility"].append(float(seen.mean()))
        if seen.sum() >= 2:
            span = float(np.ptp(keypoints[seen, 1]))
            into["scale"].append(float(np.log2(max(span, 1.0) / height_px)))
        if not self._torso or not seen[self._torso].all():
            return
        shoulders, hips = keypoints[self._torso[:2]].mean(axis=0), keypoints[self._torso[2:]].mean(axis=0)
        across, down = (hips - shoulders).tolist()
        torso = float(np.hypot(across, down))
        if torso < 1.0:
            return
        into["tilt"].append(float(np.degrees(np.arctan2(-across, down))))
        for feature, chains in self._limbs.items():
            lengths = [_length(keypoints, chain) for chain in chains if seen[chain].all()]
            into[feature].extend(float(np.log2(max(length, 1.0) / torso)) for length in lengths)

    def sample_motion(self, poses: Poses, into: Samples) -> None:
        """Adds what three frames in a row tell: unrest is the second difference, which steady movement lacks.

        Args:
            poses: Unsmoothed, of the frame after the last one given; with track ids.
            into: Takes the samples.
        """
        now: dict[int, list[NDArray[np.float32]]] = {}
        for person, track in enumerate([] if poses.track_ids is None else poses.track_ids.tolist()):
            keypoints = poses.keypoints_px[person]
            before = self._before.get(track, [])
            size = max(float(np.ptp(keypoints, axis=0).max()), 1.0)
            if before:
                into["swaps"].append(float(self._looks_swapped(keypoints, before[-1])))
            if len(before) == 2:
                unrest = np.linalg.norm(keypoints - 2 * before[1] + before[0], axis=1)
                into["jitter"].append(float(np.log2(float(np.median(unrest)) / size + 2.0**-12)))
            now[track] = [*before[-1:], keypoints.copy()]
        self._before = now

    def _looks_swapped(self, now: NDArray[np.float32], before: NDArray[np.float32]) -> bool:
        straight = np.linalg.norm(now - before, axis=1).sum()
        crossed = np.linalg.norm(now[self._mirror] - before, axis=1).sum()
        return bool(crossed < 0.5 * straight)


def _indices(names: tuple[str, ...], wanted: tuple[str, ...]) -> list[int]:
    return [names.index(name) for name in wanted] if set(wanted) <= set(names) else []


def _mirrored(names: tuple[str, ...]) -> list[int]:
    swapped = {"left": "right", "right": "left"}
    mirrored = []
    for index, name in enumerate(names):
        side, _, rest = name.partition("_")
        other = f"{swapped.get(side, side)}_{rest}"
        mirrored.append(names.index(other) if other in names else index)
    return mirrored


def _length(keypoints: NDArray[np.float32], chain: list[int]) -> float:
    return float(sum(np.linalg.norm(keypoints[b] - keypoints[a]) for a, b in pairwise(chain)))


# So much of a sample is put into each place before shares are taken: a place no one was at has no logarithm.
_PRIOR = 0.5


def histogram(feature: FeatureName, samples: Sequence[float]) -> FeatureHistogram:
    """Counts samples; one between two places counts for both, the more the nearer.

    Hard bins would move a whole window at once when its values creep over an edge. This way the distance
    between two narrow windows grows evenly with their shift.
    """
    places = np.array(FEATURES[feature].places)
    weights = np.zeros(len(places))
    values = np.clip(np.asarray(samples, np.float64), places[0], places[-1])
    right = np.clip(np.searchsorted(places, values, side="right"), 1, len(places) - 1)
    share = (values - places[right - 1]) / (places[right] - places[right - 1])
    np.add.at(weights, right, share)
    np.add.at(weights, right - 1, 1.0 - share)
    return FeatureHistogram(weights=tuple(np.round(weights, 4).tolist()), samples=float(len(values)))


def merged(first: FeatureHistogram, second: FeatureHistogram) -> FeatureHistogram:
    """Both together."""
    weights = tuple(round(a + b, 4) for a, b in zip(first.weights, second.weights, strict=True))
    return FeatureHistogram(weights=weights, samples=first.samples + second.samples)


def psi(expected: FeatureHistogram, found: FeatureHistogram) -> float:
    """Population stability index: the sum of (q - p) ln(q / p) over the places' shares (Siddiqi 2006).

    Half a sample in each place keeps it finite; it is symmetric and 0 for equal shares.
    """
    p, q = _shares(expected, _PRIOR), _shares(found, _PRIOR)
    return float(((q - p) * np.log(q / p)).sum())


def ks(expected: FeatureHistogram, found: FeatureHistogram) -> float:
    """Two-sample Kolmogorov-Smirnov distance: the largest difference of the cumulated shares, 0 to 1."""
    difference = np.cumsum(_shares(expected)) - np.cumsum(_shares(found))
    return float(np.abs(difference).max())


def outside(expected: FeatureHistogram, found: FeatureHistogram, tail: float = 0.01) -> float:
    """Share of the found values beyond the expected ones' quantiles ``tail`` and ``1 - tail``."""
    cumulated = np.cumsum(_shares(expected))
    inside = (cumulated > tail) & (np.concatenate([[0.0], cumulated[:-1]]) < 1.0 - tail)
    # A narrow expectation stands on two places by its nature, and its neighbours are still near it.
    near = inside.copy()
    near[1:] |= inside[:-1]
    near[:-1] |= inside[1:]
    return float(_shares(found)[~near].sum())


def median(feature: FeatureName, counted: FeatureHistogram) -> float:
    """The value that half of the samples stay below, between the places by a straight line."""
    shares = _shares(counted)
    # A place stands for what lies around it, so half of its share lies before it.
    return float(np.interp(0.5, np.cumsum(shares) - shares / 2, FEATURES[feature].places))


def _shares(counted: FeatureHistogram, prior: float = 0.0) -> NDArray[np.float64]:
    weights = np.asarray(counted.weights, np.float64) + prior
    total = weights.sum()
    return weights / total if total > 0 else np.full(len(weights), 1.0 / len(weights))
