"""Whether images are fit to calibrate on at all: cheap enough to ask before every quantization."""

from __future__ import annotations

from collections.abc import Sequence

from edgepose.errors import ConfigError
from edgepose.host.data.audit.image_facts import ImageFacts, measure_image
from edgepose.host.data.audit.near_copies import NearPair, grouped, pairs_within
from edgepose.host.data.data_folder import DataFolder

DEFAULT_MINIMUM = 16
HINT = "Add pictures of the place where the device will work; `edgepose data audit DIR` says what they lack."
# This many images are looked at first; only a folder that fails on them is looked at whole.
_LOOKED_AT = 64


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
