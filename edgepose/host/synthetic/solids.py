"""What pictures are made of: rounded cones and boxes in space, with colour and pattern."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from edgepose.host.synthetic.joints import Matrix, Vector

Color = tuple[float, float, float]


@dataclass(frozen=True)
class Pattern:
    """Cloth with a second colour.

    Attributes:
        kind: ``bands`` across a limb, ``stripes`` along it, or ``checks``, both.
        color: RGB, 0 to 255.
        count: Bands on a solid.
    """

    kind: Literal["bands", "stripes", "checks"]
    color: Color
    count: float


@dataclass(frozen=True)
class RoundedCone:
    """The hull of two balls, possibly flattened.

    Attributes:
        ends: (2, 3), centres of the balls.
        radii: Of the balls.
        color: RGB, 0 to 255.
        frame: (3, 3), axes in columns, along which it is stretched.
        stretch: Factors along these axes, of the thickness alone: the ends stay where they are.
        pattern: Second colour, or None.
    """

    ends: Vector
    radii: tuple[float, float]
    color: Color
    frame: Matrix | None = None
    stretch: tuple[float, float, float] = (1.0, 1.0, 1.0)
    pattern: Pattern | None = None

    @property
    def reach(self) -> float:
        """No point of it is farther from the line between its ends."""
        return max(self.radii) * max(self.stretch)

    def moved(self, turn: Matrix, shift: Vector, scale: float = 1.0) -> RoundedCone:
        """Scaled, then turned, then shifted."""
        radii = scale * self.radii[0], scale * self.radii[1]
        frame = None if self.frame is None else turn @ self.frame
        ends = scale * self.ends @ turn.T + shift
        return RoundedCone(ends, radii, self.color, frame, self.stretch, self.pattern)


@dataclass(frozen=True)
class Box:
    """A box.

    Attributes:
        centre: (3,).
        frame: (3, 3), axes in columns.
        half: Half of its sizes along them.
        color: RGB, 0 to 255.
    """

    centre: Vector
    frame: Matrix
    half: tuple[float, float, float]
    color: Color

    def moved(self, turn: Matrix, shift: Vector) -> Box:
        """Turned, then shifted."""
        return replace(self, centre=turn @ self.centre + shift, frame=turn @ self.frame)

    @property
    def reach(self) -> float:
        """It reaches nowhere beyond its corners."""
        return 0.0

    @property
    def corners(self) -> Vector:
        """(8, 3)."""
        signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
        return self.centre + (signs * self.half) @ self.frame.T


Solid = RoundedCone | Box
