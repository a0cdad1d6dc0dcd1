"""How difficult pictures are, and the light they are taken in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

StyleName = Literal["clear", "varied"]


@dataclass(frozen=True)
class Style:
    """What chance may do.

    Attributes:
        acrobatic_share: Share of acrobatic postures.
        lying: Whether somebody lies or sits on the ground.
        hidden_share: How often a person stands behind a thing.
        cut_share: How often the picture's border cuts a person.
        extreme_light_share: How often a picture is dark, overexposed or strongly tinted.
        blur_share: How often a picture is blurred.
        children: Whether some persons are children.
        camera: Whether the camera tilts, rolls and stands high or low.
        apart: Whether each person has a part of the picture's width.
    """

    acrobatic_share: float
    lying: bool
    hidden_share: float
    cut_share: float
    extreme_light_share: float
    blur_share: float
    children: bool
    camera: bool
    apart: bool


STYLES: dict[StyleName, Style] = {
    "clear": Style(
        0.0,
        lying=False,
        hidden_share=0.0,
        cut_share=0.0,
        extreme_light_share=0.0,
        blur_share=0.0,
        children=False,
        camera=False,
        apart=True,
    ),
    "varied": Style(
        0.15,
        lying=True,
        hidden_share=0.2,
        cut_share=0.25,
        extreme_light_share=0.25,
        blur_share=0.25,
        children=True,
        camera=True,
        apart=False,
    ),
}


@dataclass(frozen=True)
class Exposure:
    """What a camera's sensor and lens do to a picture.

    Attributes:
        gain: (3,), RGB.
        contrast: About middle grey.
        noise_levels: Standard deviation, grey levels.
        blur_px: Standard deviation of a soft lens.
        motion_px: Length of a shaken exposure, 0 for none.
        motion_degrees: Its direction.
        vignette: How much darker the corners are.
    """

    gain: tuple[float, float, float]
    contrast: float
    noise_levels: float
    blur_px: float
    motion_px: int
    motion_degrees: float
    vignette: float


def sample_exposure(rng: np.random.Generator, style: Style, height_px: int) -> Exposure:
    """Draws an exposure; blur scales with the picture's height."""
    level, tint, noise = float(rng.uniform(0.85, 1.12)), rng.normal(1, 0.03, 3), float(rng.uniform(1, 4))
    kind = rng.random()
    if kind < style.extreme_light_share / 2:
        level, noise = float(rng.uniform(0.28, 0.6)), float(rng.uniform(4, 9))
    elif kind < style.extreme_light_share * 0.75:
        level = float(rng.uniform(1.25, 1.5))
    elif kind < style.extreme_light_share:
        tint = rng.uniform(0.65, 1.15, 3)
    blur, motion = float(rng.uniform(0, 0.45)), 0
    if rng.random() < style.blur_share:
        blur, motion = float(rng.uniform(0.4, 1.3)), int(rng.integers(3, 7)) if rng.random() < 0.35 else 0
    unit = height_px / 240
    red, green, blue = level * tint
    return Exposure(
        (float(red), float(green), float(blue)), float(rng.uniform(0.85, 1.15)), noise, blur * unit,
        round(motion * unit), float(rng.uniform(0, 180)), float(rng.uniform(0, 0.25)),
    )  # fmt: skip
