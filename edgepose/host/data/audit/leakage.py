"""Pictures that stand in two folders that must not share any.

An evaluation on the pictures that set the ranges is no measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from edgepose.errors import ConfigError
from edgepose.host.data.audit.image_facts import PictureFacts, picture_facts
from edgepose.host.data.audit.near_copies import COPY_CORRELATION, pairs_between
from edgepose.host.data.data_folder import DataFolder, open_data_folder
from edgepose.records.data_audit import Leak
from edgepose.runtime.image_file import list_image_files

_SHOWN = 5


def facts_of(folder: DataFolder) -> list[PictureFacts]:
    """Measures every usable picture of a folder.

    Raises:
        ConfigError: A picture vanished or cannot be decoded at full size.
    """
    return [picture_facts(image.path, image.sha256) for image in folder.images]


def leaks_between(mine: Sequence[PictureFacts], others: Sequence[PictureFacts]) -> tuple[Leak, ...]:
    """The pictures of ``mine`` that are in ``others``: same bytes, near copies, same scenes.

    Each picture is named once, with its closest counterpart.
    """
    by_digest = {other.sha256: other for other in others}
    best: dict[int, Leak] = {}
    for index, picture in enumerate(mine):
        same = by_digest.get(picture.sha256)
        if same is not None:
            best[index] = _leak(picture, same, 1.0, 0)
    for pair in pairs_between(mine, others):
        if pair.first not in best or best[pair.first].correlation < pair.correlation:
            best[pair.first] = _leak(
                mine[pair.first], others[pair.second], pair.correlation, pair.hash_distance
            )
    return tuple(best[index] for index in sorted(best))


def refuse_leak(calibration: Path, evaluation_images: Path) -> None:
    """Refuses to evaluate on pictures that set the ranges.

    Only the same picture counts here, as it is or saved again in another size or quality: two frames of one
    still camera are alike and yet different.

    Args:
        calibration: Data folder that sets the ranges.
        evaluation_images: The labelled pictures that accuracy is measured on.

    Raises:
        ConfigError: They share a picture; the message names some. Or a folder cannot be used.
    """
    mine = facts_of(open_data_folder(calibration))
    files = list_image_files(evaluation_images)
    others = [picture_facts(path, sha) for path, sha in _digests(files)]
    name_of = {other.sha256: other.path.name for other in others}
    shared = {p.path.name: name_of[p.sha256] for p in mine if p.sha256 in name_of}
    for pair in pairs_between(mine, others):
        if pair.same_picture:
            shared.setdefault(mine[pair.first].path.name, others[pair.second].path.name)
    if not shared:
        return
    names = [name if name == other else f"{name} = {other}" for name, other in sorted(shared.items())]
    named = "; ".join(names[:_SHOWN])
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    raise ConfigError(
        f"{len(names)} of {len(mine)} calibration pictures in {calibration} are evaluation pictures in "
        f"{evaluation_images} too, so the accuracy would be no measurement: {named}{more}.",
        "Take them out of one of the folders; `edgepose data audit CALIBRATION --against IMAGES` lists all.",
    )


def _digests(files: Iterable[Path]) -> Iterable[tuple[Path, str]]:
    from edgepose.trust.digests import sha256_of_file

    return ((path, sha256_of_file(path)) for path in files)


def _leak(mine: PictureFacts, other: PictureFacts, correlation: float, distance: int) -> Leak:
    return Leak(
        file=mine.path.name,
        other=other.path.name,
        kind=_kind(mine, other, correlation),
        correlation=round(correlation, 4),
        hash_distance=distance,
    )


def _kind(
    mine: PictureFacts, other: PictureFacts, correlation: float
) -> Literal["same_bytes", "near_copy", "same_scene"]:
    if mine.sha256 == other.sha256:
        return "same_bytes"
    return "near_copy" if correlation >= COPY_CORRELATION else "same_scene"
