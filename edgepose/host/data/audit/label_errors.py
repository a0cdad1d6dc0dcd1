"""All checks of labels, ranked for a look."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.label_geometry import (
    impossible_limb,
    labelled_twice,
    outside_box,
    outside_picture,
)
from edgepose.host.data.audit.label_swaps import swapped_sides
from edgepose.host.data.audit.picture_facts import PictureFacts
from edgepose.spec.data_audit import LabelError

_CHECKS = (swapped_sides, impossible_limb, outside_picture, outside_box)


def suspicious_labels(persons: Sequence[AuditedPerson]) -> list[LabelError]:
    """What the labels alone give away, in the order of the persons."""
    by_file: dict[str, list[AuditedPerson]] = defaultdict(list)
    for person in persons:
        by_file[person.file].append(person)
    errors = [error for person in persons for check in _CHECKS if (error := check(person)) is not None]
    for inside in by_file.values():
        errors.extend(labelled_twice(inside))
    return errors


def wrong_sizes(persons: Sequence[AuditedPerson], pictures: Iterable[PictureFacts]) -> list[LabelError]:
    """Pictures whose size is not what their labels say: resized or turned after labelling."""
    said = {person.file: person.image_wh for person in persons}
    return [
        LabelError(
            file=picture.path.name,
            annotation_id=None,
            kind="size_mismatch",
            score=1.0,
            reason=f"the picture is {picture.width_px} x {picture.height_px}, "
            f"its labels say {said[picture.path.name][0]} x {said[picture.path.name][1]}",
        )
        for picture in pictures
        if said.get(picture.path.name, (picture.width_px, picture.height_px))
        != (picture.width_px, picture.height_px)
    ]


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
