"""Draws the frames of this folder; with ``--check`` compares them with what is there.

Usage: python golden_frames/draw.py [--check]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgepose.host.models.drawn_frames import INDEX_NAME
from edgepose.host.synthetic.composition import draw_scene
from edgepose.pose.similarity import BOX_TO_MASK_AREA
from edgepose.runtime.preprocess import Image
from edgepose.trust.digests import sha256_of_bytes

FOLDER = Path(__file__).resolve().parent
_GOLDEN_WH, _COMPARED_WH = (192, 256), (256, 320)
_LOSSLESS = [cv2.IMWRITE_WEBP_QUALITY, 101]
_PATCHES = 40


def main() -> None:
    """Draws; writes or compares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    index: dict[str, Any] = {
        "schema": "edgepose.drawn-frames/1",
        "made_with": "python golden_frames/draw.py",
    }
    images: dict[str, Image] = {}
    for name, frames in (
        ("figures", _figures(range(7000, 7036), _GOLDEN_WH)),
        ("patches", _patches(range(9000, 9036), _GOLDEN_WH)),
        ("compared", _figures(range(4000, 4004), _COMPARED_WH)),
    ):
        drawn = list(frames)
        index[name] = [entry for entry, _ in drawn]
        images[name] = np.concatenate([image for _, image in drawn])
    text = json.dumps(index, indent=1) + "\n"
    if check:
        same = (FOLDER / INDEX_NAME).read_text(encoding="utf-8") == text
        sys.exit(0 if same else "They are drawn differently now; the files stay, golden poses refer to them.")
    for name, image in images.items():
        _, data = cv2.imencode(".webp", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), _LOSSLESS)
        (FOLDER / f"{name}.webp").write_bytes(data.tobytes())
    (FOLDER / INDEX_NAME).write_text(text, encoding="utf-8")


def _figures(seeds: range, size_wh: tuple[int, int]) -> Iterator[tuple[dict[str, Any], Image]]:
    for seed in seeds:
        scene = draw_scene(seed, size_wh)
        box = [float(value) for value in scene.boxes_xyxy_px[0]]
        yield _entry(seed, scene.image, box, float(scene.areas_px2[0])), scene.image


def _patches(seeds: range, size_wh: tuple[int, int]) -> Iterator[tuple[dict[str, Any], Image]]:
    """Soft ellipses of strong colours on a dark ground, for models that are made for something else."""
    width, height = size_wh
    for seed in seeds:
        rng = np.random.default_rng(seed)
        canvas = np.full((height, width, 3), 24, np.uint8)
        for _ in range(_PATCHES):
            centre = (int(rng.integers(width)), int(rng.integers(height)))
            axes = (int(rng.integers(5, 20)), int(rng.integers(5, 20)))
            color = [int(value) for value in rng.integers(0, 256, 3)]
            angle = float(rng.uniform(0, 180))
            cv2.ellipse(canvas, centre, axes, angle, 0, 360, color, cv2.FILLED, cv2.LINE_AA)
        image = np.asarray(cv2.GaussianBlur(canvas, (5, 5), 0), np.uint8)
        yield (
            _entry(seed, image, [0.0, 0.0, float(width), float(height)], width * height * BOX_TO_MASK_AREA),
            image,
        )


def _entry(seed: int, image: Image, box_xyxy_px: list[float], area_px2: float) -> dict[str, Any]:
    digest = sha256_of_bytes(image.tobytes())
    return {"seed": seed, "sha256": digest, "box_xyxy_px": box_xyxy_px, "area_px2": area_px2}


if __name__ == "__main__":
    main()
