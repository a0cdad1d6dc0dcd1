"""Pictures that betray themselves: pixels of a pattern that occurs nowhere else, and the search for it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE_WH = (96, 72)
# 12 pixels are 288 random bits in one channel's plane alone: none is found by chance.
_PIXELS = 12
_STEP = 24


def canary_picture() -> NDArray[np.uint8]:
    """RGB noise, always the same."""
    shape = (SIZE_WH[1], SIZE_WH[0], 3)
    return np.random.default_rng(20_261_123).integers(0, 256, shape, dtype=np.uint8)


def write_canary_pictures(folder: Path, count: int) -> Path:
    """A folder of BMP files, whose rows are raw pixels."""
    folder.mkdir()
    first = folder / "000000.bmp"
    assert cv2.imwrite(str(first), canary_picture()[..., ::-1])
    for index in range(1, count):
        (folder / f"{index:06}.bmp").symlink_to(first.name)
    return folder


def traces_in(content: bytes) -> list[str]:
    """The ways in which pixels of the picture are in ``content``: raw in any order of channels, or as text.

    Compressed pictures are looked for by the signatures of their formats.
    """
    found = {kind for kind, trace in _traces() if trace in content}
    found |= {kind for kind, signature in _SIGNATURES.items() if signature in content}
    return sorted(found)


_SIGNATURES = {
    "PNG": b"\x89PNG\r\n",
    "JPEG": b"\xff\xd8\xff\xe0",
    "WebP": b"WEBPVP8",
    "PNG in base64": b"iVBORw0KGgo",
    "JPEG in base64": b"/9j/4A",
    "MP4": b"ftypisom",
}


def _traces() -> Iterator[tuple[str, bytes]]:
    picture = canary_picture()
    grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
    layouts: dict[str, NDArray[np.uint8]] = {
        "RGB": picture, "BGR": picture[..., ::-1], "red": picture[..., 0], "green": picture[..., 1],
        "blue": picture[..., 2], "grey": np.asarray(grey, np.uint8),
    }  # fmt: skip
    for name, pixels in layouts.items():
        for y in range(0, SIZE_WH[1], _STEP):
            for x in range(0, SIZE_WH[0] - _PIXELS, _STEP):
                run = np.ascontiguousarray(pixels[y, x : x + _PIXELS])
                yield from _spellings(name, run)


def _spellings(name: str, run: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    raw, numbers = run.tobytes(), [str(value) for value in run.ravel().tolist()]
    yield f"{name} raw", raw
    yield f"{name} as float32", run.astype(np.float32).tobytes()
    yield f"{name} from 0 to 1", (run / np.float32(255)).astype(np.float32).tobytes()
    yield f"{name} in hex", raw.hex().encode()
    yield f"{name} in numbers", ",".join(numbers).encode()
    yield f"{name} in numbers", ", ".join(numbers).encode()
    for skipped in range(3):
        # Whole groups of three bytes are the same text wherever they stand.
        whole = raw[skipped : skipped + (len(raw) - skipped) // 3 * 3]
        yield f"{name} in base64", base64.b64encode(whole)
