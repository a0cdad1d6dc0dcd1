"""Which bin a picture or a person falls into; an empty answer where it cannot be told.

==============  ============  =====================================================================
group           unit          bins
==============  ============  =====================================================================
brightness      pictures      mean grey: dark under 60, medium, bright from 150, of 255
contrast        pictures      standard deviation of grey: low under 35, medium, high from 70
sharpness       pictures      variance of the Laplacian, longer side 320 px: blurred under 300, medium,
                              sharp from 2000
persons         pictures      0, 1, 2, 3 to 5, 6 or more
scale           persons       box height over picture height: tiny under 0.15, small, medium, large
                              from 0.65
torso           persons       hips to shoulders against the picture's up: upright within 30 degrees,
                              leaning within 60, lying within 120, upside_down
facing          persons       width of the shoulders over the trunk's length: side under 0.3, else front
                              or back by which shoulder is where
arms            persons       raised where a wrist is above its shoulder (along the trunk), else down
legs            persons       sitting where the hip bends under 120 degrees, else knees_bent where the
                              knee does, else straight
completeness    persons       truncated at the picture's border, occluded, whole
==============  ============  =====================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.picture_facts import PictureFacts

Point = NDArray[np.float64]

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
_SIDE_SHOULDERS = 0.3
_BENT_DEGREES = 120.0
_BORDER_PX = 2.0


def picture_bins(picture: PictureFacts) -> dict[str, str]:
    """Group to bin of one picture."""
    return {
        group: _bin(group, value)
        for group, value in (
            ("brightness", picture.brightness),
            ("contrast", picture.contrast),
            ("sharpness", picture.sharpness),
        )
    }


def crowd_bin(persons: int) -> str:
    """The bin of a picture with this many persons."""
    return _bin("persons", persons)


def person_bins(person: AuditedPerson) -> dict[str, str]:
    """Group to bin of one person; a group that cannot be told is left out."""
    found = {group: measure(person) for group, measure in _MEASURES.items()}
    return {group: name for group, name in found.items() if name is not None}


def height_share(person: AuditedPerson) -> float:
    """Box height over picture height."""
    return float(person.box_xyxy_px[3] - person.box_xyxy_px[1]) / person.image_wh[1]


def _bin(group: str, value: float) -> str:
    return BINS[group][int(np.digitize(value, _BOUNDS[group]))]


def _scale(person: AuditedPerson) -> str | None:
    return _bin("scale", height_share(person))


def _torso(person: AuditedPerson) -> str | None:
    up = _trunk(person)
    if up is None:
        return None
    # The picture's y points down.
    return _bin("torso", abs(float(np.degrees(np.arctan2(up[0], -up[1])))))


def _facing(person: AuditedPerson) -> str | None:
    up, shoulders = person.up, person.pair("shoulder")
    if up is None or shoulders is None or not up.any():
        return None
    across = np.array([-up[1], up[0]])
    width = float((shoulders[0] - shoulders[1]) @ across) / float(up @ up)
    if abs(width) < _SIDE_SHOULDERS:
        return "side"
    return "front" if width > 0 else "back"


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
