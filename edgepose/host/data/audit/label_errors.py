"""Labels that contradict themselves or their image, ranked for a look: no model needed.

Body proportions are those of Drillis and Contini (1966) as printed in D. A. Winter, "Biomechanics and Motor
Control of Human Movement", figure 4.1: segment lengths as shares of the stature.

Left and right are called swapped by one of three contradictions, the surest first:

* the face looks at the camera (both eyes and the nose visible), and the left eye, or the left shoulder,
  stands on the side where the right one must be;
* shoulders and hips point to opposite sides;
* two limbs cross where the crossed reading is much shorter (elbows and knees rarely pass each other).

A label that is swapped from head to foot, seen from behind, contradicts nothing; only a teacher tells.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.near_copies import ImageFacts
from edgepose.pose.similarity import oks_between
from edgepose.records.data_audit import LabelError

# Annotators draw boxes tightly and click a little beside: a tenth of the box is no error yet.
_BOX_MARGIN_SHARE = 0.1
_BOX_MARGIN_PX = 4.0
_BORDER_MARGIN_PX = 1.5
# Segment, its ends, its share of the stature.
_LIMBS = (
    ("upper arm", "shoulder", "elbow", 0.186),
    ("forearm", "elbow", "wrist", 0.146),
    ("thigh", "hip", "knee", 0.245),
    ("shank", "knee", "ankle", 0.246),
    ("side of the trunk", "shoulder", "hip", 0.288),
)
# Foreshortening makes a limb as short as it likes, and a limb near the camera longer: only beyond this
# multiple of every other limb is a length impossible: 2 of 697 persons of COCO.
_MAX_LIMB_RATIO = 1.8
_FEWEST_LIMBS = 4
# Two annotations of one person are closer than this; two persons behind each other are not.
_TWICE_OKS = 0.85
_FALLBACK_SIGMA = 0.07


def outside_box(person: AuditedPerson) -> LabelError | None:
    """Keypoints that lie clearly outside the person's box."""
    low, high = person.box_xyxy_px[:2], person.box_xyxy_px[2:]
    margin = np.maximum((high - low) * _BOX_MARGIN_SHARE, _BOX_MARGIN_PX)
    beyond = np.maximum(low - margin - person.keypoints_px, person.keypoints_px - high - margin)
    share = (beyond / np.maximum(high - low, 1.0)).max(axis=1)
    out = person.there & (share > 0)
    if not out.any():
        return None
    worst = float(share[out].max())
    reason = f"{_listed(person, out)} outside the box by up to {worst:.0%} of its side"
    return person.error("outside_box", 1 - np.exp(-2.5 * worst), reason)


def outside_image(person: AuditedPerson) -> LabelError | None:
    """Keypoints beyond the image's border."""
    size = np.array(person.image_wh, dtype=np.float64)
    beyond = np.maximum(-person.keypoints_px, person.keypoints_px - (size - 1)).max(axis=1)
    out = person.there & (beyond > _BORDER_MARGIN_PX)
    if not out.any():
        return None
    worst = float(beyond[out].max())
    score = 0.5 + 0.5 * (1 - np.exp(-8 * worst / float(size.max())))
    return person.error("outside_picture", score, f"{_listed(person, out)} {worst:.0f} px outside")


def impossible_limb(person: AuditedPerson) -> LabelError | None:
    """A limb far too long for all the others that do not touch it."""
    limbs = list(_limb_statures(person))
    if len(limbs) < _FEWEST_LIMBS:
        return None
    worst, said = 0.0, ""
    for name, ends, stature in limbs:
        others = [other for _, other_ends, other in limbs if not ends & other_ends]
        if len(others) >= 2 and max(others) > 0 and stature / max(others) > worst:
            worst, said = stature / max(others), name
    if worst <= _MAX_LIMB_RATIO:
        return None
    reason = f"{said} is {worst:.1f} times as long as the longest other limb allows"
    return person.error("limb_ratio", 1 - _MAX_LIMB_RATIO / worst / 2, reason)


def labelled_twice(persons: list[AuditedPerson]) -> Iterator[LabelError]:
    """Two annotations of one person."""
    for index, person in enumerate(persons):
        for other in persons[:index]:
            both = person.there & other.there
            if both.sum() < 5:
                continue
            first, second = person.keypoints_px[both], other.keypoints_px[both]
            area, sigmas = min(person.area_px2, other.area_px2), np.full(len(first), _FALLBACK_SIGMA)
            oks = oks_between(first, second, area, sigmas)
            if oks >= _TWICE_OKS:
                reason = f"nearly the keypoints of annotation {other.annotation_id} (OKS {oks:.2f})"
                yield person.error("labelled_twice", oks, reason)


def _limb_statures(person: AuditedPerson) -> Iterator[tuple[str, frozenset[str], float]]:
    """Name, ends and the stature that each known limb's length stands for, in pixels."""
    for side in ("left", "right"):
        for name, first, second, share in _LIMBS:
            ends = (f"{side}_{first}", f"{side}_{second}")
            start, stop = person.point(ends[0]), person.point(ends[1])
            if start is not None and stop is not None:
                length = float(np.linalg.norm(start - stop))
                yield f"the {side} {name}", frozenset(ends), length / share


def _listed(person: AuditedPerson, chosen: NDArray[np.bool_]) -> str:
    names = [person.names[i] for i in np.flatnonzero(chosen)]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


# Inner part, outer part, least gain of the crossed reading. Folded arms and crossed ankles are common. With
# these bounds 8 of 697 persons of COCO are named, and 91, 52, 86 and 41 % of planted swaps of the outer part.
_CHAINS = (
    ("shoulder", "elbow", 0.08),
    ("hip", "knee", 0.1),
    ("elbow", "wrist", 0.2),
    ("knee", "ankle", 0.15),
)
_FACE = ("nose", "left_eye", "right_eye")
_MIN_SHOULDER_SHARE = 0.3
_MIN_HIP_SHARE = 0.15
_MIN_EYE_SHARE = 0.03
_SMALLEST_PX = 8.0


def swapped_sides(person: AuditedPerson) -> LabelError | None:
    """The surest sign that left and right are swapped, or None."""
    signs = [*_face_signs(person), *_trunk_signs(person), *_crossing_signs(person)]
    if not signs:
        return None
    return person.error("left_right_swapped", *max(signs))


def _face_signs(person: AuditedPerson) -> Iterator[tuple[float, str]]:
    face = [person.names.index(name) for name in _FACE if name in person.names]
    if len(face) < len(_FACE) or not person.visible[face].all():
        return
    up, eyes_middle, shoulders_middle = person.up, person.middle("eye"), person.middle("shoulder")
    if up is None and eyes_middle is not None and shoulders_middle is not None:
        up = 2 * (eyes_middle - shoulders_middle)
    if up is None:
        return
    size = max(float(np.linalg.norm(up)), _SMALLEST_PX)
    eyes, shoulders = _lateral(person, "eye", up), _lateral(person, "shoulder", up)
    if eyes is not None and eyes < -_MIN_EYE_SHARE * size:
        yield 0.7 - eyes / size, "the face is visible, but the left eye is on the right eye's side"
    elif shoulders is not None and shoulders < -_MIN_SHOULDER_SHARE * size:
        yield 0.5 - shoulders / size / 2, "the face is visible, but the shoulders are those of a back"


def _trunk_signs(person: AuditedPerson) -> Iterator[tuple[float, str]]:
    up = person.up
    if up is None:
        return
    size = max(float(np.linalg.norm(up)), _SMALLEST_PX)
    shoulders, hips = _lateral(person, "shoulder", up), _lateral(person, "hip", up)
    if shoulders is None or hips is None or shoulders * hips >= 0:
        return
    if abs(shoulders) > _MIN_SHOULDER_SHARE * size and abs(hips) > _MIN_HIP_SHARE * size:
        width = min(abs(shoulders) / 2, abs(hips)) / size
        yield 0.6 + width, "shoulders and hips have left and right on opposite sides"


def _crossing_signs(person: AuditedPerson) -> Iterator[tuple[float, str]]:
    for inner, outer, least in _CHAINS:
        near, far = person.pair(inner), person.pair(outer)
        if near is None or far is None:
            continue
        straight = np.linalg.norm(near[0] - far[0]) + np.linalg.norm(near[1] - far[1])
        crossed = np.linalg.norm(near[0] - far[1]) + np.linalg.norm(near[1] - far[0])
        gain = float((straight - crossed) / straight) if straight > _SMALLEST_PX else 0.0
        if gain > least:
            yield 0.3 + gain, f"swapping left and right {outer} makes both limbs {gain:.0%} shorter"


def _lateral(person: AuditedPerson, part: str, up: NDArray[np.float64]) -> float | None:
    """How far the left one lies to the image's right of the right one, for a body that points up."""
    both = person.pair(part)
    length = float(np.linalg.norm(up))
    if both is None or length == 0:
        return None
    across = np.array([-up[1], up[0]]) / length
    return float((both[0] - both[1]) @ across)


_CHECKS = (swapped_sides, impossible_limb, outside_image, outside_box)


def suspicious_labels(persons: Sequence[AuditedPerson]) -> list[LabelError]:
    """What the labels alone give away, in the order of the persons."""
    errors = [error for person in persons for check in _CHECKS if (error := check(person)) is not None]
    by_file: dict[str, list[AuditedPerson]] = defaultdict(list)
    for person in persons:
        by_file[person.file].append(person)
    return errors + [error for inside in by_file.values() for error in labelled_twice(inside)]


def wrong_sizes(persons: Sequence[AuditedPerson], images: Iterable[ImageFacts]) -> list[LabelError]:
    """Images whose size is not what their labels say: resized or turned after labelling."""
    said = {person.file: person.image_wh for person in persons}
    errors = []
    for image in images:
        file, found = image.path.name, (image.width_px, image.height_px)
        width, height = said.get(file, found)
        if (width, height) != found:
            reason = f"the picture is {found[0]} x {found[1]}, its labels say {width} x {height}"
            errors.append(
                LabelError(file=file, annotation_id=None, kind="size_mismatch", score=1.0, reason=reason)
            )
    return errors


def ranked(errors: Iterable[LabelError]) -> tuple[LabelError, ...]:
    """Surest first; of several of one kind for one annotation only the surest stays."""
    best: dict[tuple[str, int | None, str], LabelError] = {}
    for error in errors:
        key = (error.file, error.annotation_id, error.kind)
        if key not in best or error.score > best[key].score:
            best[key] = error
    return tuple(sorted(best.values(), key=lambda e: (-e.score, e.file, e.annotation_id or 0, e.kind)))


def counts_by_kind(errors: Iterable[LabelError]) -> dict[str, int]:
    """Kind to number, most first."""
    return dict(Counter(error.kind for error in errors).most_common())
