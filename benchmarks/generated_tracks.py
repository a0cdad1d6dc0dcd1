"""Persons who cross, as keypoints with known identities: what trackers and filters are measured on.

The movers of ``edgepose.host.synthetic`` walk, meet and turn in front of its camera; nothing is rendered. A
frame holds who would be found: somebody hidden behind a nearer person is missed, some are missed by chance,
keypoints are a little off, and the order of the persons means nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.clip import ClipRequest, Mover, sample_movers
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17

Scenario = Literal["cross", "crowd", "turn_back"]
SCENARIOS: tuple[Scenario, ...] = ("cross", "crowd", "turn_back")
_BOX_MARGIN = 0.06


@dataclass(frozen=True)
class TrackRequest:
    """What to generate.

    Attributes:
        scenario: ``cross``: two persons walk past each other; ``crowd``: six do, three each way, at different
            distances and speeds; ``turn_back``: two meet and each goes back where it came from.
        seed: Chooses everything.
        fps: Frames a second.
        seconds: Length.
        noise: Standard deviation of each coordinate, in heights of the person.
        miss_rate: Share of persons that a frame misses by chance.
        hidden_from: A person is missed when so much of the box is covered by nearer persons' boxes.
    """

    scenario: Scenario
    seed: int
    fps: float = 15.0
    seconds: float = 6.0
    noise: float = 0.01
    miss_rate: float = 0.03
    hidden_from: float = 0.6


@dataclass(frozen=True)
class TrueFrame:
    """One frame: what is found, and who they are (N,)."""

    poses: Poses
    persons: NDArray[np.int64]


def frames(request: TrackRequest) -> Iterator[TrueFrame]:
    """Generates the frames in order."""
    rng = np.random.default_rng((request.seed, 6))
    tracks, depths = true_tracks(request)
    for index in range(tracks.shape[0]):
        yield _found(tracks[index], depths[index], request, rng)


def true_tracks(request: TrackRequest) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Keypoints (T, P, 17, 2) in pixels of 640x480, and distances (T, P) in metres."""
    rng = np.random.default_rng((request.seed, 7))
    camera = Camera((640, 480), 620.0, np.array([0.0, 1.4, 0.0]), 0.0, 5.0)
    movers = _movers(rng, camera, request)
    points, depths = [], []
    for frame in range(round(request.seconds * request.fps)):
        time_s = frame / request.fps
        solid = [_figure(mover, time_s, request) for mover in movers]
        points.append([camera.project(keypoints) for keypoints in solid])
        depths.append([float(camera.to_camera(keypoints)[:, 2].mean()) for keypoints in solid])
    return np.array(points), np.array(depths)


def _figure(mover: Mover, time_s: float, request: TrackRequest) -> NDArray[np.float64]:
    middle = request.seconds / 2
    if request.scenario == "turn_back" and time_s > middle:
        # Back on the same way, looking where it goes.
        back = replace(mover, heading_degrees=mover.heading_degrees + 180)
        there = np.asarray(mover.velocity_m_s) * (2 * (middle - time_s))
        return np.asarray(back.at(time_s).keypoints_m + there)
    return np.asarray(mover.at(time_s).keypoints_m)


def _movers(rng: np.random.Generator, camera: Camera, request: TrackRequest) -> list[Mover]:
    count = 6 if request.scenario == "crowd" else 2
    clip = ClipRequest(request.seconds, request.fps, request.seed, camera.size_wh, count)
    looks = [mover.looks for mover in sample_movers(rng, camera, clip)]
    movers = []
    for index, look in enumerate(looks):
        sign = 1.0 if index % 2 == 0 else -1.0
        ahead = 4.5 + 0.7 * index + float(rng.uniform(0, 0.3))
        speed = float(rng.uniform(0.6, 1.4))
        reach = 0.42 * ahead * camera.size_wh[0] / camera.focal_px
        # All are near the middle half-way, not all at once.
        middle = float(rng.uniform(-0.25, 0.25)) * reach if count > 2 else 0.0
        half = min(speed * request.seconds / 2, reach)
        velocity = np.array([sign * 2 * half / request.seconds, 0, 0])
        gap = 0.12 * sign if request.scenario == "turn_back" else 0.0
        start = np.array([middle - sign * half - gap, 0, -ahead])
        movers.append(Mover(look, "walking", start, velocity, 90.0 * sign, float(rng.random())))
    return movers


def _found(
    points_px: NDArray[np.float64],
    depths: NDArray[np.float64],
    request: TrackRequest,
    rng: np.random.Generator,
) -> TrueFrame:
    boxes = _boxes(points_px)
    heights = np.ptp(points_px, axis=1).max(axis=-1)
    noisy = points_px + rng.normal(0, request.noise, points_px.shape) * heights[:, None, None]
    kept = np.array([_covered(i, boxes, depths) < request.hidden_from for i in range(len(boxes))])
    kept &= rng.random(len(boxes)) >= request.miss_rate
    persons = rng.permutation(np.flatnonzero(kept))
    poses = Poses(
        keypoints_px=noisy[persons].astype(np.float32),
        keypoint_scores=rng.uniform(0.5, 0.95, (len(persons), 17)).astype(np.float32),
        scores=rng.uniform(0.6, 0.95, len(persons)).astype(np.float32),
        skeleton=COCO17,
        boxes_xyxy_px=_boxes(noisy[persons]).astype(np.float32),
    )
    return TrueFrame(poses, persons.astype(np.int64))


def _boxes(points_px: NDArray[np.float64]) -> NDArray[np.float64]:
    if not len(points_px):
        return np.zeros((0, 4))
    low, high = points_px.min(axis=1), points_px.max(axis=1)
    margin = _BOX_MARGIN * np.ptp(points_px, axis=1).max(axis=-1, keepdims=True)
    return np.concatenate([low - margin, high + margin], axis=1)


def _covered(index: int, boxes: NDArray[np.float64], depths: NDArray[np.float64]) -> float:
    """The largest share of a box that one nearer person's box covers."""
    x0, y0, x1, y1 = boxes[index]
    share = 0.0
    for other in np.flatnonzero(depths < depths[index]):
        width = min(x1, boxes[other, 2]) - max(x0, boxes[other, 0])
        height = min(y1, boxes[other, 3]) - max(y0, boxes[other, 1])
        share = max(share, max(width, 0.0) * max(height, 0.0) / ((x1 - x0) * (y1 - y0)))
    return float(share)
