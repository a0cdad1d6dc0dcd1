"""Frames that were drawn once and travel with edgepose: every model is shown the same bytes.

``golden_frames/draw.py`` draws them and checks that they are still what it draws.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from edgepose.errors import ConfigError
from edgepose.records.files import packaged_folder
from edgepose.records.record import Record, read_json
from edgepose.runtime.preprocess import Image

FOLDER_NAME, INDEX_NAME = "golden_frames", "frames.json"
FrameSet = Literal["figures", "patches", "compared"]


class FrameEntry(Record, frozen=True, kw_only=True):
    """One frame of the index.

    Attributes:
        seed: What it was drawn with; its name.
        box_xyxy_px: The box that stands for its person.
        area_px2: The person's area, for OKS.
    """

    seed: int
    sha256: str
    box_xyxy_px: tuple[float, float, float, float]
    area_px2: float


class FrameIndex(Record, frozen=True, kw_only=True):
    """What the folder holds: each set is one image file, in which its frames stand below each other."""

    schema: Literal["edgepose.drawn-frames/1"]
    made_with: str
    figures: tuple[FrameEntry, ...]
    patches: tuple[FrameEntry, ...]
    compared: tuple[FrameEntry, ...]


@dataclass(frozen=True, eq=False)
class DrawnFrame:
    """A frame with its entry; ``image`` is uint8 (H, W, 3), RGB, and cannot be written to."""

    entry: FrameEntry
    image: Image


@lru_cache(maxsize=3)
def drawn_frames(name: FrameSet) -> dict[int, DrawnFrame]:
    """The frames of a set by their seeds: two sets for golden poses, ``compared`` for parity.

    Raises:
        ConfigError: The folder is missing or damaged: the installation is broken.
    """
    folder = packaged_folder(FOLDER_NAME)
    entries: tuple[FrameEntry, ...] = getattr(read_json(folder / INDEX_NAME, FrameIndex), name)
    stacked = cv2.imread(str(folder / f"{name}.webp"), cv2.IMREAD_COLOR)
    if stacked is None or len(stacked) % len(entries):
        raise ConfigError(f"The packaged frames in {folder} are damaged.", "Reinstall edgepose.")
    images = np.split(cv2.cvtColor(stacked, cv2.COLOR_BGR2RGB), len(entries))
    for image in images:
        image.setflags(write=False)
    pairs = zip(entries, images, strict=True)
    return {entry.seed: DrawnFrame(entry, np.asarray(image, np.uint8)) for entry, image in pairs}
