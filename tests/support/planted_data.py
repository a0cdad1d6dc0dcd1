"""Trouble planted into data on purpose: resaved copies, swapped sides, moved keypoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.audit.audited_person import AuditedPerson

Picture = NDArray[np.uint8]


def resaved(picture: Picture, how: str, rng: np.random.Generator) -> Picture:
    """The same picture after ``half``, ``jpeg30``, ``bright``, ``dark``, ``crop5`` or all (``mixed``)."""
    height, width = picture.shape[:2]
    if how == "half":
        return np.asarray(
            cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_AREA), np.uint8
        )
    if how == "jpeg30":
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
    if how == "bright":
        return np.clip(picture * 1.25 + 15, 0, 255).astype(np.uint8)
    if how == "dark":
        return np.clip(picture * 0.6, 0, 255).astype(np.uint8)
    if how == "crop5":
        x, y = (int(side * 0.05 * rng.random()) for side in (width, height))
        return np.ascontiguousarray(picture[y : y + int(height * 0.95), x : x + int(width * 0.95)])
    if how == "mixed":
        for step in ("crop5", "half", "bright", "jpeg30"):
            picture = resaved(picture, step, rng)
        return picture
    raise ValueError(how)


def swapped(person: AuditedPerson, parts: Sequence[str]) -> AuditedPerson:
    """The same label with left and right of some parts exchanged."""
    order = np.arange(len(person.names))
    for part in parts:
        left, right = person.names.index(f"left_{part}"), person.names.index(f"right_{part}")
        order[[left, right]] = right, left
    return replace(
        person,
        keypoints_px=person.keypoints_px[order],
        there=person.there[order],
        visible=person.visible[order],
    )


def moved(person: AuditedPerson, name: str, place_px: Sequence[float]) -> AuditedPerson:
    """The same label with one keypoint elsewhere."""
    points = person.keypoints_px.copy()
    points[person.names.index(name)] = place_px
    return replace(person, keypoints_px=points)
