"""How difficult images are, the light they are taken in, and what figures wear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from edgepose.host.synthetic.surfaces import Color, Pattern

StyleName = Literal["clear", "varied"]


@dataclass(frozen=True)
class Style:
    """What chance may do.

    Attributes:
        lying: Whether persons lie or sit on the ground.
        hidden_share: How often a person stands behind a thing.
        cut_share: How often the image's border cuts a person.
        extreme_light_share: How often an image is dark, overexposed or strongly tinted.
        camera: Whether the camera tilts, rolls and stands high or low.
        apart: Whether each person has a part of the image's width.
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


# fmt: off
STYLES: dict[StyleName, Style] = {
    "clear": Style(
        acrobatic_share=0.0, lying=False, hidden_share=0.0, cut_share=0.0, extreme_light_share=0.0,
        blur_share=0.0, children=False, camera=False, apart=True,
    ),
    "varied": Style(
        acrobatic_share=0.15, lying=True, hidden_share=0.2, cut_share=0.25, extreme_light_share=0.25,
        blur_share=0.25, children=True, camera=True, apart=False,
    ),
}
# fmt: on


@dataclass(frozen=True)
class Exposure:
    """What a camera's sensor and lens do to an image.

    Attributes:
        contrast: About middle grey.
        noise_levels: Standard deviation, grey levels.
        blur_px: Standard deviation of a soft lens.
        motion_px: Length of a shaken exposure, 0 for none; ``motion_degrees`` is its direction.
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
    """Draws an exposure; blur scales with the image's height."""
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


Hair = Literal["short", "long", "bun", "bald", "cap", "curly"]
Trousers = Literal["trousers", "shorts", "skirt"]

# fmt: off
_SKIN_RGB = (
    (250, 214, 190), (240, 196, 164), (222, 178, 140), (198, 148, 110), (166, 115, 78), (122, 82, 58),
    (86, 58, 44),
)
_HAIR_RGB = (
    (26, 21, 20), (52, 36, 26), (92, 62, 38), (160, 122, 72), (205, 170, 110), (140, 68, 38),
    (155, 155, 158), (215, 215, 215),
)
_CLOTH_RGB = (
    (34, 46, 84), (176, 38, 42), (236, 236, 232), (28, 28, 32), (48, 104, 66), (206, 166, 60),
    (92, 124, 172), (128, 128, 130), (104, 62, 100), (190, 104, 54), (66, 84, 92), (146, 118, 92),
    (74, 78, 84), (212, 196, 170), (58, 92, 138), (150, 178, 200), (226, 150, 160), (90, 58, 42),
)
_SHOE_RGB = ((24, 22, 22), (236, 236, 236), (92, 60, 40), (60, 62, 70), (170, 40, 44), (40, 60, 110))
# fmt: on


@dataclass(frozen=True)
class Outfit:
    """Colours and cut, RGB 0 to 255.

    Attributes:
        sleeve: Share of the whole arm that the shirt covers, 0 to 1.
        leg: Share of the whole leg that cloth covers.
        jacket_lining: Colour that an open jacket shows, or None.
    """

    skin: Color
    hair: Color
    hat: Color
    shirt: Color
    trousers: Color
    shoes: Color
    sleeve: float
    leg: float
    hair_style: Hair
    legwear: Trousers
    shirt_pattern: Pattern | None
    trousers_pattern: Pattern | None
    jacket_lining: Color | None
    glasses: bool


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draws what a person wears."""
    hat, shirt, trousers, second, lining = (
        _near(rng, _CLOTH_RGB[place]) for place in rng.choice(len(_CLOTH_RGB), size=5, replace=False)
    )
    legwear: Trousers = ("trousers", "shorts", "skirt")[int(rng.choice(3, p=(0.66, 0.22, 0.12)))]
    has_jacket = rng.random() < 0.25
    return Outfit(
        skin=_near(rng, _SKIN_RGB[rng.integers(len(_SKIN_RGB))], 5),
        hair=_near(rng, _HAIR_RGB[rng.integers(len(_HAIR_RGB))], 8),
        hat=hat,
        shirt=shirt,
        trousers=trousers,
        shoes=_near(rng, _SHOE_RGB[rng.integers(len(_SHOE_RGB))]),
        sleeve=1.0 if has_jacket else float(rng.choice([0.0, 0.24, 0.28, 0.34, 1.0, 1.0])),
        leg={
            "trousers": 1.0,
            "shorts": float(rng.uniform(0.25, 0.45)),
            "skirt": float(rng.uniform(0.25, 0.5)),
        }[legwear],
        hair_style=get_args(Hair)[int(rng.choice(6, p=(0.42, 0.22, 0.08, 0.06, 0.12, 0.10)))],
        legwear=legwear,
        shirt_pattern=_pattern(rng, second, 0.3),
        trousers_pattern=_pattern(rng, second, 0.08),
        jacket_lining=lining if has_jacket else None,
        glasses=bool(rng.random() < 0.12),
    )


def _near(rng: np.random.Generator, color: Color, spread: float = 12.0) -> Color:
    red, green, blue = np.clip(np.asarray(color) + rng.normal(0, spread, 3), 8, 250)
    return float(red), float(green), float(blue)


def _pattern(rng: np.random.Generator, color: Color, share: float) -> Pattern | None:
    wanted, kind, count = rng.random() < share, int(rng.integers(3)), float(rng.integers(5, 13))
    return Pattern(("bands", "stripes", "checks")[kind], color, count) if wanted else None
