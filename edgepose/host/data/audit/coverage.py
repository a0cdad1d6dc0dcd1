"""How images and persons spread over the bins; one of which it cannot be told falls into none.

==============  ============  =====================================================================
group           unit          bins
==============  ============  =====================================================================
brightness      images      mean grey: dark under 60, medium, bright from 150, of 255
contrast        images      standard deviation of grey: low under 35, medium, high from 70
sharpness       images      variance of the Laplacian, longer side 320 px: blurred under 300, medium,
                              sharp from 2000
persons         images      0, 1, 2, 3 to 5, 6 or more
scale           persons       box height over image height: tiny under 0.15, small, medium, large
                              from 0.65
torso           persons       hips to shoulders against the image's up: upright within 30 degrees,
                              leaning within 60, lying within 120, upside_down
facing          persons       width of the shoulders over the trunk's length: side under 0.3, else front
                              or back by which shoulder is where
arms            persons       raised where a wrist is above its shoulder (along the trunk), else down
legs            persons       sitting where the hip bends under 120 degrees, else knees_bent where the
                              knee does, else straight
completeness    persons       truncated at the image's border, occluded, whole
==============  ============  =====================================================================
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from edgepose.host.data.audit.audited_person import AuditedPerson, Point
from edgepose.host.data.audit.near_copies import SHARPNESS_SIDE_PX, ImageFacts
from edgepose.records.data_audit import GroupBalance, PersonFigures, PictureFigures, SliceCount, Spread

BINS: dict[str, tuple[str, ...]] = {
    "brightness": ("dark", "medium", "bright"),
    "contrast": ("low", "medium", "high"),
    "sharpness": ("blurred", "medium", "sharp"),
    "persons": ("0", "1", "2", "3-5", "6+"),
    "scale": ("tiny", "small", "medium", "large"),
    "torso": ("upright", "leaning", "lying", "upside_down"),
    "facing": ("front", "side", "back"),
    "arms": ("down", "raised"),
    "legs": ("straight", "knees_bent", "sitting"),
    "completeness": ("whole", "occluded", "truncated"),
}
_BOUNDS: dict[str, tuple[float, ...]] = {
    "brightness": (60.0, 150.0),
    "contrast": (35.0, 70.0),
    "sharpness": (300.0, 2000.0),
    "persons": (1.0, 2.0, 3.0, 6.0),
    "scale": (0.15, 0.35, 0.65),
    "torso": (30.0, 60.0, 120.0),
}
_IMAGE_GROUPS = ("brightness", "contrast", "sharpness", "persons")
_SIDE_SHOULDERS = 0.3
_BENT_DEGREES = 120.0
_BORDER_PX = 2.0

PosesFrom = Literal["labels", "model", "none"]


def person_bins(person: AuditedPerson) -> dict[str, str]:
    """Group to bin of one person; a group that cannot be told is left out."""
    return {group: name for group, measure in _MEASURES.items() if (name := measure(person)) is not None}


def height_share(person: AuditedPerson) -> float:
    """Box height over image height."""
    return float(person.box_xyxy_px[3] - person.box_xyxy_px[1]) / person.image_wh[1]


def _bin(group: str, value: float) -> str:
    return BINS[group][int(np.digitize(value, _BOUNDS[group]))]


def _scale(person: AuditedPerson) -> str | None:
    return _bin("scale", height_share(person))


def _torso(person: AuditedPerson) -> str | None:
    up = _trunk(person)
    # The image's y points down.
    return None if up is None else _bin("torso", abs(float(np.degrees(np.arctan2(up[0], -up[1])))))


def _facing(person: AuditedPerson) -> str | None:
    up, shoulders = person.up, person.pair("shoulder")
    if up is None or shoulders is None or not up.any():
        return None
    across = np.array([-up[1], up[0]])
    width = float((shoulders[0] - shoulders[1]) @ across) / float(up @ up)
    return "side" if abs(width) < _SIDE_SHOULDERS else "front" if width > 0 else "back"


def _arms(person: AuditedPerson) -> str | None:
    up = _trunk(person)
    up = np.array([0.0, -1.0]) if up is None else up
    heights = [float((wrist - shoulder) @ up) for wrist, shoulder in _sides(person, "wrist", "shoulder")]
    if not heights:
        return None
    return "raised" if max(heights) > 0 else "down"


def _legs(person: AuditedPerson) -> str | None:
    hips = [_angle(*points) for points in _sides(person, "shoulder", "hip", "knee")]
    knees = [_angle(*points) for points in _sides(person, "hip", "knee", "ankle")]
    if hips and min(hips) < _BENT_DEGREES:
        return "sitting"
    if not knees:
        return None
    return "knees_bent" if min(knees) < _BENT_DEGREES else "straight"


def _completeness(person: AuditedPerson) -> str | None:
    if person.visible.all():
        return "whole"
    x0, y0, x1, y1 = person.box_xyxy_px
    width, height = person.image_wh
    at_border = min(x0, y0) <= _BORDER_PX or x1 >= width - _BORDER_PX or y1 >= height - _BORDER_PX
    return "truncated" if at_border and not person.there.all() else "occluded"


def _trunk(person: AuditedPerson) -> Point | None:
    """Hips to shoulders; of one side where the other is not known."""
    if person.up is not None:
        return person.up
    for shoulder, hip in _sides(person, "shoulder", "hip"):
        return np.asarray(shoulder - hip, np.float64)
    return None


def _sides(person: AuditedPerson, *parts: str) -> Sequence[tuple[Point, ...]]:
    """The points of a chain of parts, for each side where all are known."""
    found = []
    for side in ("left", "right"):
        points = [person.point(f"{side}_{part}") for part in parts]
        known = tuple(point for point in points if point is not None)
        if len(known) == len(parts):
            found.append(known)
    return found


def _angle(first: Point, corner: Point, last: Point) -> float:
    """Degrees at the corner, 180 where the three points lie in line."""
    a, b = first - corner, last - corner
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.degrees(np.arccos(np.clip(float(a @ b) / lengths, -1, 1)))) if lengths else 180.0


_MEASURES: dict[str, Callable[[AuditedPerson], str | None]] = {
    "scale": _scale,
    "torso": _torso,
    "facing": _facing,
    "arms": _arms,
    "legs": _legs,
    "completeness": _completeness,
}


def coverage(
    images: Sequence[ImageFacts], persons: Sequence[AuditedPerson], looked_at: Sequence[str]
) -> tuple[tuple[SliceCount, ...], tuple[GroupBalance, ...]]:
    """Counts every bin.

    Args:
        images: All usable images.
        persons: All in them.
        looked_at: Names of the images whose persons are known, also where there are none.

    Returns:
        The slices and the balance of each group. Groups of persons are left out without persons.
    """
    per_image = Counter(person.file for person in persons)
    binned = [person_bins(person) for person in persons]
    slices: list[SliceCount] = []
    balance: list[GroupBalance] = []
    for group, bins in BINS.items():
        if group == "persons":
            names, total = [_bin(group, per_image[name]) for name in looked_at], len(looked_at)
        elif group in _IMAGE_GROUPS:
            names, total = [_bin(group, getattr(image, group)) for image in images], len(images)
        else:
            names, total = [found[group] for found in binned if group in found], len(persons)
        if names:
            counts = [names.count(name) for name in bins]
            slices.extend(_slices(group, counts))
            balance.append(_balance(group, counts, total - len(names)))
    return tuple(slices), tuple(balance)


def image_figures(images: Sequence[ImageFacts]) -> PictureFigures:
    """The spread of brightness, contrast, sharpness and size; at least one image."""
    return PictureFigures(
        brightness=_spread([image.brightness for image in images]),
        contrast=_spread([image.contrast for image in images]),
        sharpness=_spread([image.sharpness for image in images]),
        sharpness_side_px=SHARPNESS_SIDE_PX,
        width_px=_spread([image.width_px for image in images]),
        height_px=_spread([image.height_px for image in images]),
        flat_files=tuple(image.path.name for image in images if image.is_flat),
    )


def person_figures(persons: Sequence[AuditedPerson], poses_from: PosesFrom) -> PersonFigures:
    """How many persons, how high, which keypoints."""
    there = np.array([person.there for person in persons])
    shares = there.mean(axis=0) if len(persons) else ()
    names = persons[0].names if persons else ()
    return PersonFigures(
        poses_from=poses_from,
        persons=len(persons),
        pictures_with_persons=len({person.file for person in persons}),
        keypoint_visibility={n: round(float(s), 4) for n, s in zip(names, shares, strict=True)},
        height_share=_spread([height_share(person) for person in persons]) if persons else None,
    )


def _spread(values: ArrayLike) -> Spread:
    """Five figures of at least one value."""
    low, p5, median, p95, high = (float(v) for v in np.percentile(np.asarray(values), [0, 5, 50, 95, 100]))
    return Spread(low=low, p5=p5, median=median, p95=p95, high=high)


def _slices(group: str, counts: Sequence[int]) -> list[SliceCount]:
    unit: Literal["pictures", "persons"] = "pictures" if group in _IMAGE_GROUPS else "persons"
    return [
        SliceCount(group=group, name=name, unit=unit, count=count, share=round(count / sum(counts), 4))
        for name, count in zip(BINS[group], counts, strict=True)
    ]


def _balance(group: str, counts: Sequence[int], unknown: int) -> GroupBalance:
    shares = [count / sum(counts) for count in counts]
    entropy = -sum(share * math.log(share) for share in shares if share) / math.log(len(shares))
    return GroupBalance(
        group=group,
        known=sum(counts),
        unknown=unknown,
        # An empty sum is minus zero.
        entropy=round(abs(entropy), 4),
        min_share=round(min(shares), 4),
        max_share=round(max(shares), 4),
    )
