"""Where a source puts its pictures."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class PictureMemory(Protocol):
    """Hands out memory for pictures: of this process, or shared with the one that looks at them."""

    def take(self, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """An array whose content is arbitrary.

        Args:
            shape: (H, W, 3).
        """
        ...
