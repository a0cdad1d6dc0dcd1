"""Golden poses: what the float parent sees in drawn frames, as the proof that a copy still works.

The parent's poses are recorded when a model is converted or quantized and travel in its lineage; a bundle
takes the frames on which the shipped model agrees best. No person's image is on any device.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError, GateFailedError
from edgepose.host.models.artifact import ModelArtifact
from edgepose.host.models.drawn_frames import DrawnFrame, drawn_frames
from edgepose.pose.similarity import oks_between
from edgepose.records.bundle_manifest import GoldenDetection
from edgepose.records.lineage import GoldenPose
from edgepose.runtime.bundle_model import GOLDEN_SCORE_THRESHOLD, estimate_in_box, golden_oks
from edgepose.runtime.pipeline import PersonDetector, PosePipeline
from edgepose.runtime.preprocess import Image

DEFAULT_TOLERANCE_OKS = 0.85
GOLDEN_FRAMES = 4
# Two poses that both lie within OKS 0.85 of a third are nearer to each other than this, in the middle of
# the range where OKS falls with the squared distance: exp(-x) = 0.85 gives exp(-4 x) = 0.52.
_DIFFERENT_OKS = 0.5
# An arm64 device may differ by one step of an int8 output, so a frame that only just passes here is
# no good.
_BUILD_MARGIN_OKS = 0.02
_STABLE_OKS = 0.95
# Seeds from here on draw patches, those below figures.
_FIRST_PATCH_SEED = 9000
_DEFAULT_CANDIDATES = 12


@dataclass(frozen=True)
class GoldenImage:
    """A golden pose with its frame.

    Attributes:
        pose: What the float parent sees.
        image: uint8 (H, W, 3), RGB.
        agreement_oks: OKS of the shipped model's pose with it.
    """

    pose: GoldenPose
    image: Image
    agreement_oks: float


def golden_for(parent: ModelArtifact) -> tuple[GoldenPose, ...]:
    """The golden poses that a model made from this one takes: the first float source's, handed on.

    Raises:
        MissingDependencyError: The parent's runtime is not installed.
        ModelError: The parent failed.
    """
    if parent.spec.paradigm == "detector":
        return ()
    if parent.lineage is not None and parent.lineage.golden:
        return parent.lineage.golden
    return golden_from_parent(parent.pipeline(GOLDEN_SCORE_THRESHOLD))


def golden_from_parent(pipeline: PosePipeline, count: int = _DEFAULT_CANDIDATES) -> tuple[GoldenPose, ...]:
    """Records the poses of a float model (opened with ``GOLDEN_SCORE_THRESHOLD``), most confident first.

    Frames on which the model is unsure of itself are left out: those where a little more light and
    noise move its pose.

    Raises:
        ModelError: The model failed.
    """
    figures = _stable_poses(pipeline, drawn_frames("figures").values())
    # A third comes from patches: a model of something else than people sees nothing in figures.
    patches = _stable_poses(pipeline, drawn_frames("patches").values())
    most_figures = max(count - count // 3, count - len(patches))
    kept = figures[:most_figures]
    return tuple(sorted((*kept, *patches[: count - len(kept)]), key=_doubt))


def choose_golden(
    shipped: PosePipeline,
    candidates: tuple[GoldenPose, ...],
    tolerance_oks: float = DEFAULT_TOLERANCE_OKS,
    count: int = GOLDEN_FRAMES,
) -> tuple[GoldenImage, ...]:
    """Picks the frames on which the shipped model agrees best with its float parent.

    It is opened with ``GOLDEN_SCORE_THRESHOLD``. The device will ask ``tolerance_oks`` of every frame; here
    a little more is asked.

    Raises:
        GateFailedError: The shipped model does not reproduce its float parent, or the poses are so alike
            that a model stuck on one pose would pass.
        ConfigError: The frames are not those that the poses were recorded on.
        ModelError: The model failed.
    """
    frames = [(pose, golden_image(pose)) for pose in candidates]
    images = [GoldenImage(pose, image, golden_oks(shipped, image, pose)) for pose, image in frames]
    # Figures come first: a person detector must find the person in them too. Patches only fill up.
    images.sort(key=lambda image: (image.pose.seed >= _FIRST_PATCH_SEED, -image.agreement_oks))
    needed = min(1.0, tolerance_oks + _BUILD_MARGIN_OKS)
    passing = [image for image in images if image.agreement_oks >= needed]
    if len(passing) < count:
        values = ", ".join(f"{image.agreement_oks:.2f}" for image in images) or "none"
        raise GateFailedError(
            "The shipped model does not reproduce its float parent's poses on golden frames: "
            f"{len(passing)} of {len(images)} reach OKS {needed:.2f}, expected {count} (found {values}).",
            "Quantize again with more or better calibration images, or ship float16.",
        )
    return _with_different_poses(passing, count, shipped.spec.pose_skeleton.sigmas)


def golden_image(pose: GoldenPose) -> Image:
    """The frame of a golden pose.

    Raises:
        ConfigError: It is not the same frame any more.
    """
    frames = drawn_frames("patches" if pose.seed >= _FIRST_PATCH_SEED else "figures")
    frame = frames.get(pose.seed)
    if frame is None or frame.entry.sha256 != pose.image_sha256:
        raise ConfigError(
            f"Golden frame {pose.seed} is drawn differently by this edgepose than by the one that made "
            "the model.",
            "Convert or quantize the model again with this version.",
        )
    return frame.image


def _stable_poses(pipeline: PosePipeline, frames: Iterable[DrawnFrame]) -> list[GoldenPose]:
    """Stable poses on drawn frames, the most confident first."""
    found = (_stable_pose(pipeline, frame) for frame in frames)
    return sorted((pose for pose in found if pose is not None), key=_doubt)


def _doubt(pose: GoldenPose) -> float:
    return -sum(score for _, _, score in pose.keypoints)


def _stable_pose(pipeline: PosePipeline, frame: DrawnFrame) -> GoldenPose | None:
    seed, pose = frame.entry.seed, _best_pose(pipeline, frame)
    if pose is None:
        return None
    # Patches compete by colour alone, so that a change as strong as figures bear would turn any of them.
    change = 0.02 if seed >= _FIRST_PATCH_SEED else 0.06
    changed = (_relit(frame.image, 1 - change, 3, seed), _relit(frame.image, 1 + change, -3, seed + 1))
    if min(golden_oks(pipeline, image, pose) for image in changed) < _STABLE_OKS:
        return None
    return pose


def _best_pose(pipeline: PosePipeline, frame: DrawnFrame) -> GoldenPose | None:
    """The best-scored pose in a frame, or None where nothing is found."""
    box = frame.entry.box_xyxy_px if pipeline.spec.uses_person_boxes else None
    poses = estimate_in_box(pipeline, frame.image, box)
    if len(poses) == 0:
        return None
    best = int(np.argmax(poses.scores))
    rows = np.column_stack([poses.keypoints_px[best], poses.keypoint_scores[best]]).astype(float)
    if not np.isfinite(rows).all():
        return None
    return GoldenPose(
        seed=frame.entry.seed,
        image_sha256=frame.entry.sha256,
        width_px=frame.image.shape[1],
        height_px=frame.image.shape[0],
        box_xyxy_px=box,
        area_px2=frame.entry.area_px2,
        keypoints=tuple((float(x), float(y), float(score)) for x, y, score in rows),
    )


def _relit(image: Image, gain: float, offset: float, seed: int) -> Image:
    noise = np.random.default_rng(seed).normal(offset, 2.0, image.shape)
    return np.clip(np.round(image * gain + noise), 0, 255).astype(np.uint8)


def _with_different_poses(
    passing: list[GoldenImage], count: int, sigmas: NDArray[np.float64]
) -> tuple[GoldenImage, ...]:
    """The best ``count``, of which at least two poses differ so much that no fixed pose fits both."""
    likeness = _likeness_matrix([image.pose for image in passing], sigmas)
    best = list(range(count))
    if _differ(likeness, best):
        return tuple(passing[index] for index in best)
    for replacement in range(count, len(passing)):
        chosen = [*best[:-1], replacement]
        if _differ(likeness, chosen):
            return tuple(passing[index] for index in chosen)
    raise GateFailedError(
        "The model's poses hardly differ between golden frames, so a model stuck on one pose would pass: "
        f"the most different two have OKS {likeness.min():.2f}, expected below {_DIFFERENT_OKS}.",
        "Check that the model and its spec are right: edgepose evaluate MODEL.",
    )


def _differ(likeness: NDArray[np.float64], chosen: list[int]) -> bool:
    return any(likeness[first, second] < _DIFFERENT_OKS for first, second in combinations(chosen, 2))


def _likeness_matrix(poses: list[GoldenPose], sigmas: NDArray[np.float64]) -> NDArray[np.float64]:
    """OKS of every pair (N, N) as the model sees them: relative to the crop or the frame."""
    normal = [_relative_to_crop(pose) for pose in poses]
    area = float(np.mean([area for _, area in normal]))
    likeness = np.ones((len(poses), len(poses)))
    for first, second in combinations(range(len(poses)), 2):
        value = oks_between(normal[first][0], normal[second][0], area, sigmas)
        likeness[first, second] = likeness[second, first] = value
    return likeness


def _relative_to_crop(pose: GoldenPose) -> tuple[NDArray[np.float64], float]:
    """Keypoints (K, 2) and area in units of the crop's longer side (or the frame's)."""
    x0, y0, x1, y1 = pose.box_xyxy_px or (0, 0, pose.width_px, pose.height_px)
    side = max(x1 - x0, y1 - y0, 1.0)
    centre = np.array([x0 + x1, y0 + y1]) / 2
    points = np.array(pose.keypoints, np.float64)[:, :2]
    return (points - centre) / side, pose.area_px2 / side**2


def detect_golden(detector: PersonDetector, images: dict[str, GoldenImage]) -> tuple[GoldenDetection, ...]:
    """Records the detector's best box in every golden frame in which it finds a person.

    It is opened with ``GOLDEN_SCORE_THRESHOLD``; ``images`` are by their paths inside the bundle.

    Raises:
        GateFailedError: It finds no person in any, so nothing could be checked on the device.
        ModelError: The detector failed.
    """
    found = []
    for file, shown in images.items():
        boxes, _ = detector.detect(shown.image)
        if len(boxes):
            x0, y0, x1, y1 = (float(value) for value in boxes[0])
            found.append(GoldenDetection(file=file, box_xyxy_px=(x0, y0, x1, y1)))
    if not found:
        raise GateFailedError(
            f"The detector finds no person in {len(images)} golden frames, not even with the lowest score.",
            "Check the detector and its spec: edgepose run IMAGES --model MODEL --detector DETECTOR.",
        )
    return tuple(found)
