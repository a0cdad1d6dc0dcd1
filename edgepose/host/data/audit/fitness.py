"""Whether images are fit: to calibrate on at all, and to evaluate on beside those that set the ranges.

The first is cheap enough to ask before every quantization.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from edgepose.errors import ConfigError
from edgepose.host.data.audit.near_copies import (
    COPY_CORRELATION,
    ImageFacts,
    NearPair,
    grouped,
    measure_image,
    pairs_between,
    pairs_within,
)
from edgepose.host.data.data_folder import DataFolder, open_data_folder
from edgepose.records.data_audit import Leak
from edgepose.runtime.image_file import list_image_files
from edgepose.trust.digests import sha256_of_file

DEFAULT_MINIMUM = 16
HINT = "Add pictures of the place where the device will work; `edgepose data audit DIR` says what they lack."
# This many images are looked at first; only a folder that fails on them is looked at whole.
_LOOKED_AT = 64
_SHOWN = 5


def refuse_unfit(folder: DataFolder, minimum: int = DEFAULT_MINIMUM) -> None:
    """Refuses a folder with too few different images that show something.

    Copies count once, also when they were saved again in another size or quality; black, white and
    one-coloured images do not count. At most 64 images are decoded where those are enough.

    Raises:
        ConfigError: The folder is unfit; the message says in what way.
    """
    by_digest = {image.sha256: image for image in folder.images}
    images = [by_digest[digest] for digest in sorted(by_digest)]
    looked_at = [measure_image(image.path, image.sha256) for image in images[:_LOOKED_AT]]
    if distinct_images(looked_at, list(pairs_within(looked_at))) >= minimum:
        return
    looked_at.extend(measure_image(image.path, image.sha256) for image in images[_LOOKED_AT:])
    pairs = list(pairs_within(looked_at))
    problems = unfit_because(looked_at, pairs, minimum, unreadable=len(folder.unreadable))
    if problems:
        raise ConfigError(f"{folder.path} is not fit to calibrate on: {' '.join(problems)}", HINT)


def unfit_because(
    images: Sequence[ImageFacts], pairs: Sequence[NearPair], minimum: int, *, unreadable: int = 0
) -> list[str]:
    """Why images cannot calibrate, in sentences; empty where they can.

    Args:
        images: All usable ones.
        pairs: From ``pairs_within`` of the same images.
        minimum: Fewest different images.
        unreadable: Files that could not be decoded, for the words only.
    """
    flat = [image for image in images if image.is_flat]
    distinct = distinct_images(images, pairs)
    if len(flat) == len(images):
        return [f"All {len(images)} pictures are {_tone(flat)}."]
    if distinct >= minimum:
        return []
    if distinct == 1 and len(images) > 1:
        return [f"All {len(images)} pictures are the same one, expected at least {minimum} different ones."]
    found = f"Found {distinct} different pictures that show something, expected at least {minimum}"
    copies = len(images) - len(flat) - distinct
    counts = ((copies, "copies"), (len(flat), _tone(flat)), (unreadable, "unreadable"))
    left_out = ", ".join(f"{count} {what}" for count, what in counts if count)
    return [f"{found} (left out: {left_out})." if left_out else f"{found}."]


def distinct_images(images: Sequence[ImageFacts], pairs: Sequence[NearPair]) -> int:
    """Number of images that show something, the same image saved again counted once."""
    groups = grouped(len(images), [pair for pair in pairs if pair.same_picture])
    return sum(not images[group[0]].is_flat for group in groups)


def _tone(flat: Sequence[ImageFacts]) -> str:
    if flat and all(image.brightness < 30 for image in flat):
        return "black"
    if flat and all(image.brightness > 225 for image in flat):
        return "white"
    return "of one colour"


def measure_folder(folder: DataFolder) -> list[ImageFacts]:
    """Measures every usable image of a folder.

    Raises:
        ConfigError: An image vanished or cannot be decoded at full size.
    """
    return [measure_image(image.path, image.sha256) for image in folder.images]


def leaks_between(mine: Sequence[ImageFacts], others: Sequence[ImageFacts]) -> tuple[Leak, ...]:
    """The images of ``mine`` that are in ``others``: same bytes, near copies, same scenes.

    Each image is named once, with its closest counterpart.
    """
    by_digest = {other.sha256: other for other in others}
    best: dict[int, Leak] = {}
    for index, image in enumerate(mine):
        same = by_digest.get(image.sha256)
        if same is not None:
            best[index] = _leak(image, same, 1.0, 0)
    for pair in pairs_between(mine, others):
        if pair.first not in best or best[pair.first].correlation < pair.correlation:
            found = (mine[pair.first], others[pair.second])
            best[pair.first] = _leak(*found, pair.correlation, pair.hash_distance)
    return tuple(best[index] for index in sorted(best))


def _leak(mine: ImageFacts, other: ImageFacts, correlation: float, distance: int) -> Leak:
    kind: Literal["same_bytes", "near_copy", "same_scene"] = "same_scene"
    if mine.sha256 == other.sha256:
        kind = "same_bytes"
    elif correlation >= COPY_CORRELATION:
        kind = "near_copy"
    return Leak(
        file=mine.path.name,
        other=other.path.name,
        kind=kind,
        correlation=round(correlation, 4),
        hash_distance=distance,
    )


def refuse_leak(calibration: Path, evaluation_images: Path) -> None:
    """Refuses to evaluate on images that set the ranges.

    Only the same image counts here, as it is or saved again in another size or quality: two frames of one
    still camera are alike and yet different.

    Args:
        calibration: Data folder that sets the ranges.
        evaluation_images: The labelled images that accuracy is measured on.

    Raises:
        ConfigError: They share an image; the message names some. Or a folder cannot be used.
    """
    mine = measure_folder(open_data_folder(calibration))
    others = [measure_image(path, sha256_of_file(path)) for path in list_image_files(evaluation_images)]
    name_of = {other.sha256: other.path.name for other in others}
    shared = {image.path.name: name_of[image.sha256] for image in mine if image.sha256 in name_of}
    for pair in pairs_between(mine, others):
        if pair.same_picture:
            shared.setdefault(mine[pair.first].path.name, others[pair.second].path.name)
    if not shared:
        return
    names = [name if name == other else f"{name} = {other}" for name, other in sorted(shared.items())]
    named = "; ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    raise ConfigError(
        f"{len(names)} of {len(mine)} calibration pictures in {calibration} are evaluation pictures in "
        f"{evaluation_images} too, so the accuracy would be no measurement: {named}.",
        "Take them out of one of the folders; `edgepose data audit CALIBRATION --against IMAGES` lists all.",
    )
