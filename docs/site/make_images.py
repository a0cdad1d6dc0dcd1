"""Makes the images of the README and the site: ``make images``.

They show people who do not exist, drawn and filmed by edgepose itself, with the poses that the built-in int8
model gives. The same commands give the same clips, so that the images can be made again.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import __version__
from edgepose.sandbox.python_child import run_python
from edgepose.trust.digests import sha256_of_file

PROJECT = Path(__file__).resolve().parent.parent.parent
IMAGES = PROJECT / "docs" / "images"
MODEL = PROJECT / "builtin_models" / "edgepose-s_int8.tflite"
DETECTOR = PROJECT / "builtin_models" / "edgepose-d_int8.tflite"
SEED = 3
SECONDS = 4
# Of the clip of two, before they cross each other.
PICTURE_FRAME = 15
ANIMATION_WH = (320, 240)
# The wall above the person says nothing.
CUT_ROWS = 60
EVERY = 2
FRAME_MS = 133
QUALITY = {"picture": 80, "animation": 60}

Image = NDArray[np.uint8]


def main() -> None:
    """Films two clips, runs the model on them, and writes the images with their provenance."""
    IMAGES.mkdir(exist_ok=True)
    with TemporaryDirectory() as work:
        two = _film(Path(work) / "two", "1-2", "--detector", str(DETECTOR))
        one = _film(Path(work) / "one", "1-1")
        picture = IMAGES / "two_persons.webp"
        cv2.imwrite(str(picture), two[PICTURE_FRAME], [cv2.IMWRITE_WEBP_QUALITY, QUALITY["picture"]])
        animation = cv2.Animation()
        animation.frames = [
            cv2.resize(frame, ANIMATION_WH, interpolation=cv2.INTER_AREA)[CUT_ROWS:] for frame in one[::EVERY]
        ]
        animation.durations = [FRAME_MS] * len(animation.frames)
        walk = IMAGES / "walk.webp"
        cv2.imwriteanimation(str(walk), animation, [cv2.IMWRITE_WEBP_QUALITY, QUALITY["animation"]])
    provenance = {
        "made_by": "make images (docs/site/make_images.py)",
        "persons": "none exists: edgepose data synth draws them (ADR 0018)",
        "seed": SEED,
        "edgepose": __version__,
        "models": {path.name: sha256_of_file(path) for path in (MODEL, DETECTOR)},
        "images": {path.name: sha256_of_file(path) for path in (picture, walk)},
    }
    (IMAGES / "provenance.json").write_text(json.dumps(provenance, indent=2) + "\n", encoding="utf-8")


def _film(folder: Path, persons: str, *options: str) -> list[Image]:
    """Draws a clip, runs the model on it, and gives the frames with the poses drawn, BGR."""
    drawn = folder.with_suffix(".mp4")
    clip = ["data", "synth", "-o", str(folder), "--video", str(SECONDS), "--persons", persons]
    _edgepose(*clip, "--style", "clear", "--seed", str(SEED))
    _edgepose("run", str(folder / "clip.mp4"), "--model", str(MODEL), *options, "--render", str(drawn))
    frames, video = [], cv2.VideoCapture(str(drawn))
    while (read := video.read())[0]:
        frames.append(np.asarray(read[1], np.uint8))
    return frames


def _edgepose(*arguments: str) -> None:
    done = run_python("edgepose.cli.main", arguments)
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)


if __name__ == "__main__":
    main()
