"""Labels that contradict themselves or their picture: no model needed.

Body proportions are those of Drillis and Contini (1966) as printed in D. A. Winter, "Biomechanics and Motor
Control of Human Movement", figure 4.1: segment lengths as shares of the stature.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.pose.similarity import oks_matrix
from edgepose.spec.data_audit import LabelError

# Annotators draw boxes tightly and click a little beside: a tenth of the box is no error yet.
_BOX_MARGIN_SHARE = 0.1
_BOX_MARGIN_PX = 4.0
_PICTURE_MARGIN_PX = 1.5
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
    return _error(person, "outside_box", 1 - np.exp(-2.5 * worst), reason)


def outside_picture(person: AuditedPerson) -> LabelError | None:
    """Keypoints beyond the picture's border."""
    size = np.array(person.image_wh, dtype=np.float64)
    beyond = np.maximum(-person.keypoints_px, person.keypoints_px - (size - 1)).max(axis=1)
    out = person.there & (beyond > _PICTURE_MARGIN_PX)
    if not out.any():
        return None
    worst = float(beyond[out].max())
    score = 0.5 + 0.5 * (1 - np.exp(-8 * worst / float(size.max())))
    return _error(person, "outside_picture", score, f"{_listed(person, out)} {worst:.0f} px outside")


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
    return _error(person, "limb_ratio", 1 - _MAX_LIMB_RATIO / worst / 2, reason)


def labelled_twice(persons: list[AuditedPerson]) -> Iterator[LabelError]:
    """Two annotations of one person.

    Args:
        persons: Everybody in one picture.
    """
    for index, person in enumerate(persons):
        for other in persons[:index]:
            both = person.there & other.there
            if both.sum() < 5:
                continue
            sigmas = np.full(int(both.sum()), _FALLBACK_SIGMA)
            oks = oks_matrix(
                person.keypoints_px[both][None],
                other.keypoints_px[both][None],
                np.ones((1, int(both.sum())), bool),
                np.array([min(person.area_px2, other.area_px2)]),
                sigmas,
            )[0, 0]
            if oks >= _TWICE_OKS:
                reason = f"nearly the keypoints of annotation {other.annotation_id} (OKS {oks:.2f})"
                yield _error(person, "labelled_twice", float(oks), reason)


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


def _error(person: AuditedPerson, kind: str, score: float, reason: str) -> LabelError:
    return LabelError(
        file=person.file,
        annotation_id=person.annotation_id,
        kind=kind,  # type: ignore[arg-type]
        score=round(float(np.clip(score, 0, 1)), 3),
        reason=reason,
    )
