"""The whole way on one machine, from nothing: build a small model, deploy it, run it on a clip.

The model is constructed, not trained: it finds the coloured markers of drawn figures. So the demo needs
nobody's picture and no download, and its accuracy says nothing about people.

Usage: python -m examples.demo [FOLDER]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from tests.support.marker_models import build_marker_heatmap_onnx, marker_spec_toml
from tests.support.marker_scene import marker_scene, write_marker_set

_PROFILE = "raspberrypi"
_FRAMES, _FPS, _SIZE_WH = 60, 15, (320, 240)


def main() -> None:
    """Builds, deploys, runs; every step is a command that a user would type."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model, spec, clip = folder / "marker.onnx", folder / "marker.toml", folder / "clip.mp4"
    build_marker_heatmap_onnx(model)
    spec.write_text(marker_spec_toml("heatmap"), encoding="utf-8")
    write_marker_set(folder / "pictures", 40, 1)
    write_marker_set(folder / "labelled", 40, 2)
    write_clip(clip)
    pictures, labelled = folder / "pictures", folder / "labelled"
    edgepose(
        "deploy", "--profile", _PROFILE, "--model", model, "--spec", spec, "--calibration", pictures,
        "--annotations", labelled / "person_keypoints.json", "--images", labelled / "images",
        "--root", folder / "root",
    )  # fmt: skip
    edgepose(
        "run", clip, "--root", folder / "root",
        "--output", folder / "poses.jsonl", "--render", folder / "overlay.mp4",
    )  # fmt: skip
    edgepose("status", "--root", folder / "root")
    print(f"\nLook at {folder / 'overlay.mp4'} and {folder / 'poses.jsonl'}.")


def write_clip(path: Path) -> None:
    """Writes a clip in which a marker figure moves about."""
    scene = marker_scene(7, _SIZE_WH)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), _FPS, _SIZE_WH)
    for frame in range(_FRAMES):
        angle = 2 * np.pi * frame / _FRAMES
        matrix = np.array([[1.0, 0, 30 * np.sin(angle)], [0, 1.0, 8 * np.sin(2 * angle)]])
        moved = cv2.warpAffine(scene.image, matrix, _SIZE_WH, borderMode=cv2.BORDER_REPLICATE)
        writer.write(cv2.cvtColor(moved, cv2.COLOR_RGB2BGR))
    writer.release()


def edgepose(*arguments: object) -> None:
    """Shows a command and runs it."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ edgepose {' '.join(words)}", flush=True)
    subprocess.run([str(Path(sys.executable).parent / "edgepose"), *words], check=True)


if __name__ == "__main__":
    main()
