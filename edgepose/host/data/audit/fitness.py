"""Whether pictures are fit to calibrate on at all: cheap enough to ask before every quantization."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.errors import ConfigError
from edgepose.host.data.audit.image_facts import PictureFacts, picture_facts
from edgepose.host.data.audit.near_copies import NearPair, grouped, pairs_within
from edgepose.host.data.data_folder import DataFolder

DEFAULT_MINIMUM = 16
HINT = "Add pictures of the place where the device will work; `edgepose data audit DIR` says what they lack."
# This many pictures are looked at first; only a folder that fails on them is looked at whole.
_LOOKED_AT = 64


def refuse_unfit(folder: DataFolder, minimum: int = DEFAULT_MINIMUM) -> None:
    """Refuses a folder with too few different pictures that show something.

    Copies count once, also when they were saved again in another size or quality; black, white and
    one-coloured pictures do not count. At most 64 pictures are decoded where those are enough.

    Raises:
        ConfigError: The folder is unfit; the message says in what way.
    """
    by_digest = {image.sha256: image for image in folder.images}
    images = [by_digest[digest] for digest in sorted(by_digest)]
    looked_at = [picture_facts(image.path, image.sha256) for image in images[:_LOOKED_AT]]
    if distinct_pictures(looked_at, list(pairs_within(looked_at))) >= minimum:
        return
    looked_at.extend(picture_facts(image.path, image.sha256) for image in images[_LOOKED_AT:])
    problems = unfit_because(
        looked_at, list(pairs_within(looked_at)), minimum, unreadable=len(folder.unreadable)
    )
    if problems:
        raise ConfigError(f"{folder.path} is not fit to calibrate on: {' '.join(problems)}", HINT)


def unfit_because(
    pictures: Sequence[PictureFacts], pairs: Sequence[NearPair], minimum: int, *, unreadable: int = 0
) -> list[str]:
    """Why pictures cannot calibrate, in sentences; empty where they can.

    Args:
        pictures: All usable ones.
        pairs: From ``pairs_within`` of the same pictures.
        minimum: Fewest different pictures.
        unreadable: Files that could not be decoded, for the words only.
    """
    flat = [picture for picture in pictures if picture.is_flat]
    distinct = distinct_pictures(pictures, pairs)
    if len(flat) == len(pictures):
        return [f"All {len(pictures)} pictures are {_tone(flat)}."]
    if distinct >= minimum:
        return []
    if distinct == 1 and len(pictures) > 1:
        return [f"All {len(pictures)} pictures are the same one, expected at least {minimum} different ones."]
    found = f"Found {distinct} different pictures that show something, expected at least {minimum}"
    copies = len(pictures) - len(flat) - distinct
    left_out = [
        f"{count} {what}"
        for count, what in ((copies, "copies"), (len(flat), _tone(flat)), (unreadable, "unreadable"))
        if count
    ]
    return [f"{found} (left out: {', '.join(left_out)})." if left_out else f"{found}."]


def distinct_pictures(pictures: Sequence[PictureFacts], pairs: Sequence[NearPair]) -> int:
    """Number of pictures that show something, the same picture saved again counted once."""
    same = [pair for pair in pairs if pair.same_picture]
    groups = grouped(len(pictures), same)
    return sum(not pictures[group[0]].is_flat for group in groups)


def _tone(flat: Sequence[PictureFacts]) -> str:
    if flat and all(picture.brightness < 30 for picture in flat):
        return "black"
    if flat and all(picture.brightness > 225 for picture in flat):
        return "white"
    return "of one colour"
