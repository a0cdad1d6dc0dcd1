"""What a pose consists of (names, edges, pairs, COCO's sigmas), and how one skeleton maps onto another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError


@dataclass(frozen=True)
class Skeleton:
    """The keypoints of one kind of pose.

    Attributes:
        name: Short identifier, for example ``coco17``.
        keypoint_names: One name per keypoint, in the order of every array that holds this skeleton.
        edges: Pairs of keypoint indices (0-based) that are drawn as a limb.
        flip_pairs: Pairs of indices that change places when the image is mirrored.
        oks_sigmas: Per-keypoint standard deviation of human labels relative to the object's scale
            (COCO's ``k / 2``), each greater than 0.
    """

    name: str
    keypoint_names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    oks_sigmas: tuple[float, ...]

    def __post_init__(self) -> None:
        count = len(self.keypoint_names)
        if count == 0 or len(set(self.keypoint_names)) != count:
            raise ConfigError(f"Skeleton '{self.name}' needs at least one keypoint and unique names.")
        # Written so that NaN is refused too.
        if len(self.oks_sigmas) != count or not all(0 < sigma < np.inf for sigma in self.oks_sigmas):
            raise ConfigError(
                f"Skeleton '{self.name}' has {count} keypoints and needs as many oks_sigmas above 0, "
                f"found {len(self.oks_sigmas)}."
            )
        for first, second in (*self.edges, *self.flip_pairs):
            if not (0 <= first < count and 0 <= second < count):
                raise ConfigError(
                    f"Skeleton '{self.name}' names keypoint pair ({first}, {second}); "
                    f"indices run from 0 to {count - 1}."
                )
        paired = [index for pair in self.flip_pairs for index in pair]
        if len(set(paired)) != len(paired):
            raise ConfigError(f"Skeleton '{self.name}' has a keypoint in more than one flip pair.")

    @property
    def keypoint_count(self) -> int:
        """Number of keypoints K."""
        return len(self.keypoint_names)

    @property
    def sigmas(self) -> NDArray[np.float64]:
        """``oks_sigmas`` as an array of shape (K,)."""
        return np.asarray(self.oks_sigmas, dtype=np.float64)

    @property
    def flip_permutation(self) -> NDArray[np.intp]:
        """Shape (K,): ``keypoints[flip_permutation]`` is the order after mirroring the image."""
        order = np.arange(self.keypoint_count)
        for first, second in self.flip_pairs:
            order[first], order[second] = second, first
        return order

    def indices_of(self, names: Sequence[str]) -> list[int]:
        """Returns the indices of ``names``.

        Raises:
            ConfigError: A name is not a keypoint of this skeleton.
        """
        missing = [name for name in names if name not in self.keypoint_names]
        if missing:
            raise ConfigError(f"Skeleton '{self.name}' has no keypoint named {', '.join(missing)}.")
        return [self.keypoint_names.index(name) for name in names]


COCO17 = Skeleton(
    name="coco17",
    keypoint_names=(
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    # COCO's `skeleton` field, turned to 0-based indices.
    edges=(
        (15, 13),
        (13, 11),
        (16, 14),
        (14, 12),
        (11, 12),
        (5, 11),
        (6, 12),
        (5, 6),
        (5, 7),
        (6, 8),
        (7, 9),
        (8, 10),
        (1, 2),
        (0, 1),
        (0, 2),
        (1, 3),
        (2, 4),
        (3, 5),
        (4, 6),
    ),
    flip_pairs=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16)),
    # cocoeval.py, Params.kpt_oks_sigmas.
    oks_sigmas=(
        0.026,
        0.025,
        0.025,
        0.035,
        0.035,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
    ),
)

MPII16 = Skeleton(
    name="mpii16",
    keypoint_names=(
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "pelvis",
        "thorax",
        "upper_neck",
        "head_top",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
    ),
    edges=(
        (0, 1),
        (1, 2),
        (2, 6),
        (6, 3),
        (3, 4),
        (4, 5),
        (6, 7),
        (7, 8),
        (8, 9),
        (8, 12),
        (12, 11),
        (11, 10),
        (8, 13),
        (13, 14),
        (14, 15),
    ),
    flip_pairs=((0, 5), (1, 4), (2, 3), (10, 15), (11, 14), (12, 13)),
    # COCO's figures where the keypoint is the same. COCO does not label pelvis, thorax, neck and head
    # top: these have the figures of the nearest COCO keypoint (hip, shoulder, shoulder, nose).
    oks_sigmas=(
        0.089,
        0.087,
        0.107,
        0.107,
        0.087,
        0.089,
        0.107,
        0.079,
        0.079,
        0.026,
        0.062,
        0.072,
        0.079,
        0.079,
        0.072,
        0.062,
    ),
)

BLAZEPOSE33 = Skeleton(
    name="blazepose33",
    # MediaPipe's PoseLandmark enumeration, spelled with sides in front.
    keypoint_names=(
        "nose",
        "left_eye_inner",
        "left_eye",
        "left_eye_outer",
        "right_eye_inner",
        "right_eye",
        "right_eye_outer",
        "left_ear",
        "right_ear",
        "left_mouth",
        "right_mouth",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_pinky",
        "right_pinky",
        "left_index",
        "right_index",
        "left_thumb",
        "right_thumb",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
        "left_heel",
        "right_heel",
        "left_foot_index",
        "right_foot_index",
    ),
    edges=(
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 7),
        (0, 4),
        (4, 5),
        (5, 6),
        (6, 8),
        (9, 10),
        (11, 12),
        (11, 13),
        (13, 15),
        (15, 17),
        (15, 19),
        (15, 21),
        (17, 19),
        (12, 14),
        (14, 16),
        (16, 18),
        (16, 20),
        (16, 22),
        (18, 20),
        (11, 23),
        (12, 24),
        (23, 24),
        (23, 25),
        (24, 26),
        (25, 27),
        (26, 28),
        (27, 29),
        (28, 30),
        (29, 31),
        (30, 32),
        (27, 31),
        (28, 32),
    ),
    flip_pairs=(
        (1, 4),
        (2, 5),
        (3, 6),
        (7, 8),
        (9, 10),
        (11, 12),
        (13, 14),
        (15, 16),
        (17, 18),
        (19, 20),
        (21, 22),
        (23, 24),
        (25, 26),
        (27, 28),
        (29, 30),
        (31, 32),
    ),
    # COCO's figure of the same or the nearest COCO keypoint (eyes, wrists, ankles).
    oks_sigmas=(
        0.026,
        0.025,
        0.025,
        0.025,
        0.025,
        0.025,
        0.025,
        0.035,
        0.035,
        0.026,
        0.026,
        0.079,
        0.079,
        0.072,
        0.072,
        0.062,
        0.062,
        0.062,
        0.062,
        0.062,
        0.062,
        0.062,
        0.062,
        0.107,
        0.107,
        0.087,
        0.087,
        0.089,
        0.089,
        0.089,
        0.089,
        0.089,
        0.089,
    ),
)

SKELETONS: dict[str, Skeleton] = {s.name: s for s in (COCO17, MPII16, BLAZEPOSE33)}


def skeleton_named(name: str) -> Skeleton:
    """Returns the built-in skeleton called ``name``.

    Raises:
        ConfigError: There is no such skeleton.
    """
    if name not in SKELETONS:
        raise ConfigError(
            f"Skeleton '{name}' is unknown; expected one of {', '.join(SKELETONS)}.",
            "Write an inline [skeleton] table in the spec for another one.",
        )
    return SKELETONS[name]


def shared_keypoints(source: Skeleton, target: Skeleton) -> NDArray[np.intp]:
    """Matches two skeletons by keypoint name.

    Returns:
        Shape (M, 2): index in ``source``, index in ``target``, for the M keypoints that both have, in
        the order of ``target``. BlazePose-33 shares all 17 of COCO-17; MPII-16 shares 12.
    """
    rows = [
        (source.keypoint_names.index(name), position)
        for position, name in enumerate(target.keypoint_names)
        if name in source.keypoint_names
    ]
    return np.asarray(rows, dtype=np.intp).reshape(-1, 2)
