"""How pictures and persons spread over the bins, and how even that is."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.picture_facts import SHARPNESS_SIDE_PX, PictureFacts
from edgepose.host.data.audit.pose_bins import BINS, crowd_bin, height_share, person_bins, picture_bins
from edgepose.spec.data_audit import GroupBalance, PersonFigures, PictureFigures, SliceCount, Spread

PosesFrom = Literal["labels", "model", "none"]
_PICTURE_GROUPS = ("brightness", "contrast", "sharpness", "persons")


def coverage(
    pictures: Sequence[PictureFacts], persons: Sequence[AuditedPerson], looked_at: Sequence[str]
) -> tuple[tuple[SliceCount, ...], tuple[GroupBalance, ...]]:
    """Counts every bin.

    Args:
        pictures: All usable pictures.
        persons: Everybody in them.
        looked_at: Names of the pictures whose persons are known, also where nobody is in them.

    Returns:
        The slices and the balance of each group. Groups of persons are left out without persons.
    """
    binned = [picture_bins(picture) for picture in pictures]
    per_picture = Counter(person.file for person in persons)
    binned_persons = [person_bins(person) for person in persons]
    slices: list[SliceCount] = []
    balance: list[GroupBalance] = []
    for group in BINS:
        if group == "persons":
            names, total = [crowd_bin(per_picture[name]) for name in looked_at], len(looked_at)
        elif group in _PICTURE_GROUPS:
            names, total = [bins[group] for bins in binned], len(binned)
        else:
            names = [bins[group] for bins in binned_persons if group in bins]
            total = len(binned_persons)
        if names:
            counts = Counter(names)
            slices.extend(_slices(group, counts))
            balance.append(_balance(group, counts, total))
    return tuple(slices), tuple(balance)


def picture_figures(pictures: Sequence[PictureFacts]) -> PictureFigures:
    """The spread of brightness, contrast, sharpness and size; at least one picture."""
    return PictureFigures(
        brightness=spread([p.brightness for p in pictures]),
        contrast=spread([p.contrast for p in pictures]),
        sharpness=spread([p.sharpness for p in pictures]),
        sharpness_side_px=SHARPNESS_SIDE_PX,
        width_px=spread([p.width_px for p in pictures]),
        height_px=spread([p.height_px for p in pictures]),
        flat_files=tuple(p.path.name for p in pictures if p.is_flat),
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
        height_share=spread([height_share(person) for person in persons]) if persons else None,
    )


def spread(values: ArrayLike) -> Spread:
    """Five figures of at least one value."""
    low, p5, median, p95, high = (float(v) for v in np.percentile(np.asarray(values), [0, 5, 50, 95, 100]))
    return Spread(low=low, p5=p5, median=median, p95=p95, high=high)


def _slices(group: str, counts: Counter[str]) -> list[SliceCount]:
    total = counts.total()
    unit: Literal["pictures", "persons"] = "pictures" if group in _PICTURE_GROUPS else "persons"
    return [
        SliceCount(
            group=group, name=name, unit=unit, count=counts[name], share=round(counts[name] / total, 4)
        )
        for name in BINS[group]
    ]


def _balance(group: str, counts: Counter[str], total: int) -> GroupBalance:
    shares = [counts[name] / counts.total() for name in BINS[group]]
    entropy = -sum(share * math.log(share) for share in shares if share) / math.log(len(shares))
    return GroupBalance(
        group=group,
        known=counts.total(),
        unknown=total - counts.total(),
        # An empty sum is minus zero.
        entropy=round(abs(entropy), 4),
        min_share=round(min(shares), 4),
        max_share=round(max(shares), 4),
    )
