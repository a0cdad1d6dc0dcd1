"""Found persons, column-wise."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import MissingDependencyError
from edgepose.pose.skeletons import Skeleton


@dataclass(frozen=True)
class Poses:
    """N persons with K keypoints each.

    Attributes:
        keypoints_px: float32 (N, K, 2), x then y, in pixels of the original image.
        keypoint_scores: float32 (N, K), the model's confidence, usually in [0, 1].
        scores: float32 (N,), one score per person, the key that persons are ranked by.
        skeleton: What the K keypoints are.
        boxes_xyxy_px: float32 (N, 4) boxes in image pixels, or None where no stage gave any.
        track_ids: int64 (N,), or None before tracking.
    """

    keypoints_px: NDArray[np.float32]
    keypoint_scores: NDArray[np.float32]
    scores: NDArray[np.float32]
    skeleton: Skeleton
    boxes_xyxy_px: NDArray[np.float32] | None = None
    track_ids: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        count, keypoints = len(self.scores), self.skeleton.keypoint_count
        expected: dict[str, tuple[int, ...]] = {
            "keypoints_px": (count, keypoints, 2),
            "keypoint_scores": (count, keypoints),
            "scores": (count,),
            "boxes_xyxy_px": (count, 4),
            "track_ids": (count,),
        }
        for name, shape in expected.items():
            array = getattr(self, name)
            if array is not None and array.shape != shape:
                raise ValueError(f"Poses.{name} has shape {array.shape}, expected {shape}.")

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of each keypoint, in the order of the arrays."""
        return self.skeleton.keypoint_names

    def keypoint(self, name: str) -> NDArray[np.float32]:
        """One keypoint of every person: float32 (N, 3), x, y and score.

        Raises:
            KeyError: The skeleton has none of that name.
        """
        if name not in self.names:
            raise KeyError(f"{self.skeleton.name} has no keypoint '{name}', but {', '.join(self.names)}")
        index = self.names.index(name)
        return np.column_stack([self.keypoints_px[:, index], self.keypoint_scores[:, index]])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON: the persons as in ``edgepose.poses``, with the names of the keypoints."""
        boxes, tracks = self.boxes_xyxy_px, self.track_ids
        keypoints = np.concatenate([self.keypoints_px, self.keypoint_scores[..., None]], axis=2)
        return {
            "skeleton": self.skeleton.name,
            "keypoint_names": list(self.names),
            "poses": [
                {
                    "track_id": None if tracks is None else int(tracks[person]),
                    "score": float(self.scores[person]),
                    "box_xyxy_px": None if boxes is None else boxes[person].tolist(),
                    "keypoints": keypoints[person].tolist(),
                }
                for person in range(len(self))
            ],
        }

    def to_supervision(self) -> Any:
        """The same persons as ``supervision.KeyPoints``, for its annotators and metrics.

        Raises:
            MissingDependencyError: supervision is not installed.
        """
        try:
            import supervision
        except ModuleNotFoundError as problem:
            raise MissingDependencyError(
                "supervision is not installed.", "pip install 'edgepose[supervision]'"
            ) from problem
        data = {} if self.track_ids is None else {"tracker_id": self.track_ids}
        return supervision.KeyPoints(
            xy=self.keypoints_px,
            keypoint_confidence=self.keypoint_scores,
            detection_confidence=self.scores,
            class_id=np.zeros(len(self), dtype=int),
            data=data,
        )

    @classmethod
    def empty(cls, skeleton: Skeleton) -> Poses:
        """Returns no one."""
        keypoints = skeleton.keypoint_count
        return cls(
            keypoints_px=np.zeros((0, keypoints, 2), np.float32),
            keypoint_scores=np.zeros((0, keypoints), np.float32),
            scores=np.zeros(0, np.float32),
            skeleton=skeleton,
            boxes_xyxy_px=np.zeros((0, 4), np.float32),
        )

    def select(self, index: NDArray[Any]) -> Poses:
        """Returns the persons chosen by a boolean mask (N,) or by integer indices (M,)."""
        return replace(
            self,
            keypoints_px=self.keypoints_px[index],
            keypoint_scores=self.keypoint_scores[index],
            scores=self.scores[index],
            boxes_xyxy_px=None if self.boxes_xyxy_px is None else self.boxes_xyxy_px[index],
            track_ids=None if self.track_ids is None else self.track_ids[index],
        )
