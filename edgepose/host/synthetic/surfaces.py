"""What scenes are made of: floors and walls with patterns, rounded cones and boxes in space."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.synthetic.skeleton import Matrix, Vector

Plane = NDArray[np.float32]
SurfaceKind = Literal["plain", "tiles", "checks", "planks", "stripes", "bricks", "rough"]
WALLS: tuple[SurfaceKind, ...] = ("plain", "plain", "plain", "stripes", "bricks", "tiles", "rough")
FLOORS: tuple[SurfaceKind, ...] = get_args(SurfaceKind)
# RGB, 0 to 255.
Color = tuple[float, float, float]
_NOISE_SIDE = 256


@dataclass(frozen=True)
class Surface:
    """A floor or a wall; colours (3,) are RGB, 0 to 255.

    Attributes:
        second: Colour of joints or of the other tiles.
        period_m: Size of the pattern.
        grain: Strength of the noise.
        noise: float32 (S, S), about -1 to 1, seamless.
    """

    kind: SurfaceKind
    color: NDArray[np.float64]
    second: NDArray[np.float64]
    period_m: float
    grain: float
    noise: Plane


def sample_noise(rng: np.random.Generator) -> Plane:
    """Seamless noise (S, S) of several sizes, about -1 to 1."""
    total = np.zeros((_NOISE_SIDE, _NOISE_SIDE), np.float32)
    for cells, strength in ((8, 0.45), (32, 0.3), (128, 0.25)):
        coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
        wrapped = np.pad(coarse, 2, mode="wrap")
        step = _NOISE_SIDE // cells
        large = cv2.resize(wrapped, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
        total += strength * large[2 * step : -2 * step, 2 * step : -2 * step]
    return total


def sample_surface(rng: np.random.Generator, kinds: tuple[SurfaceKind, ...], noise: Plane) -> Surface:
    """Draws a surface of muted colours."""
    color = muted_color(rng, 50, 225)
    second = color * rng.uniform(0.6, 0.92) if rng.random() < 0.7 else muted_color(rng, 50, 225)
    kind = kinds[int(rng.integers(len(kinds)))]
    return Surface(kind, color, second, float(rng.uniform(0.15, 0.7)), float(rng.uniform(0.02, 0.16)), noise)


def muted_color(
    rng: np.random.Generator, low: float, high: float, spread: float = 0.08
) -> NDArray[np.float64]:
    """RGB (3,): rooms are mostly grey, brown and pale, seldom bright."""
    spread = 0.35 if rng.random() < 0.12 else spread
    warmth = np.array([1.04, 1.0, 0.95])
    return np.clip(rng.uniform(low, high) * warmth * (1 + rng.normal(0, spread, 3)), 5, 250)


def paint(surface: Surface, u_m: Plane, v_m: Plane, distance_m: Plane) -> Plane:
    """The surface's colour (..., 3) at places (...) on it; patterns fade with the distance from the eye."""
    share = _second_share(surface, u_m, v_m)
    if surface.kind != "plain":
        share = share * np.clip(1.6 - distance_m / 14, 0, 1)
    first, second = surface.color.astype(np.float32), surface.second.astype(np.float32)
    color = first + share[..., None].astype(np.float32) * (second - first)
    color *= (1 + surface.grain * noise_at(surface.noise, u_m, v_m, 40))[..., None]
    return color


def noise_at(noise: Plane, u: Plane, v: Plane, scale: float) -> Plane:
    """The noise at places, ``scale`` cells a unit, repeated without seams."""
    column, row = np.floor(u * scale).astype(np.int32), np.floor(v * scale).astype(np.int32)
    # The side is a power of two, so that a mask takes the remainder.
    column &= _NOISE_SIDE - 1
    row &= _NOISE_SIDE - 1
    return noise.ravel()[row * _NOISE_SIDE + column]


def _second_share(surface: Surface, u_m: Plane, v_m: Plane) -> Plane:
    """How much of the second colour there is, 0 to 1."""
    u, v = u_m / surface.period_m, v_m / surface.period_m
    patterns: dict[SurfaceKind, Callable[[], NDArray[np.generic]]] = {
        "plain": lambda: np.zeros_like(u),
        "rough": lambda: 0.5 + 0.5 * noise_at(surface.noise, u_m, v_m, 9),
        "checks": lambda: (np.floor(u) + np.floor(v)) % 2,
        "stripes": lambda: np.floor(2 * u) % 2,
        "planks": lambda: np.where((3 * u) % 1 < 0.06, 1, 0.35 * ((np.floor(3 * u) * 0.618) % 1)),
        "bricks": lambda: ((3 * v) % 1 < 0.14) | ((u + 0.5 * (np.floor(3 * v) % 2)) % 1 < 0.06),
        "tiles": lambda: (u % 1 < 0.05) | (v % 1 < 0.05),
    }
    return patterns[surface.kind]().astype(np.float32)


@dataclass(frozen=True)
class Pattern:
    """Cloth with a second colour.

    Attributes:
        kind: ``bands`` across a limb, ``stripes`` along it, or ``checks``, both.
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
        frame: (3, 3), axes in columns, along which it is stretched.
        stretch: Factors along these axes, of the thickness alone: the ends stay where they are.
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
    """A box; ``half`` are half of its sizes along the axes, which are the columns of ``frame`` (3, 3)."""

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
