"""What a pose consists of: names, edges, left/right pairs and the spread of human labels."""

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
