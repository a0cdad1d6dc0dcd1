"""Does the one-euro filter steady somebody at rest, and how far does it lag behind somebody who moves?

On persons who do not exist, whose keypoints are known exactly: at rest and in motion (walking, squatting,
waving, jumping jacks), at 15 and 30 frames a second, with white noise of two sizes and with noise that lasts
for some frames, as a model's does. Jitter is the standard deviation over time at rest; lag the delay that
explains most of the distance to the truth, by least squares, over keypoints that move by more than a quarter
of the body's size a second; the error is the root mean square distance to the truth, in motion.

With a model also: one drawn person at rest, photographed with a sensor's noise, through the very pipeline.

Usage: python benchmarks/smoothing.py [--model MODEL.tflite]
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose import __version__
from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.device.run.smoothing import PoseSmoother, SmoothingOptions
from edgepose.host.synthetic.camera import Camera
from edgepose.host.synthetic.clip import ClipRequest, film, sample_movers
from edgepose.pose.poses import Poses
from edgepose.pose.skeletons import COCO17
from edgepose.runtime.open_model import open_pipeline
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "smoothing.json"
_RATES_FPS = (15.0, 30.0)
_SECONDS = 6.0
_SEEDS = 3
# Share of the body's size; how much of a frame's noise lasts into the next one.
_NOISES = {"white_0.4%": (0.004, 0.0), "white_0.8%": (0.008, 0.0), "lasting_0.8%": (0.008, 0.5)}
_MOVES_FROM = 0.25
Track = NDArray[np.float64]


def tracks(seed: int, fps: float) -> list[Track]:
    """(T, 17, 2) of five persons, true keypoints in pixels."""
    rng = np.random.default_rng((seed, 8))
    camera = Camera((640, 480), 620.0, np.array([0.0, 1.4, 0.0]), 0.0, 5.0)
    movers = sample_movers(rng, camera, ClipRequest(_SECONDS, fps, seed, persons=5))
    times = np.arange(round(_SECONDS * fps)) / fps
    return [np.stack([camera.project(mover.at(float(t)).keypoints_m) for t in times]) for mover in movers]


def noisy(track: Track, noise: tuple[float, float], rng: np.random.Generator) -> Track:
    """The track with noise; it keeps its size whatever lasts of it."""
    share, lasts = noise
    size_px = float(np.ptp(track[0], axis=0).max())
    shift = np.empty_like(track)
    shift[0] = rng.normal(0, 1, track[0].shape)
    for index in range(1, len(track)):
        fresh = rng.normal(0, 1, track[0].shape)
        shift[index] = lasts * shift[index - 1] + np.sqrt(1 - lasts**2) * fresh
    return np.asarray(track + share * size_px * shift)


def smoothed(track: Track, fps: float) -> Track:
    """Through the filter, as one person."""
    smoother, shown = PoseSmoother(), []
    for index, points in enumerate(track):
        poses = Poses(
            keypoints_px=points[None].astype(np.float32),
            keypoint_scores=np.full((1, 17), 0.9, np.float32),
            scores=np.ones(1, np.float32),
            skeleton=COCO17,
            track_ids=np.array([1]),
        )
        shown.append(smoother.update(poses, round(index * 1e9 / fps)).keypoints_px[0])
    return np.stack(shown).astype(np.float64)


def rest(noise: tuple[float, float], fps: float) -> dict[str, float]:
    """Somebody who stands still for 12 s; the first second is left out."""
    rng = np.random.default_rng(1)
    still = np.repeat(tracks(0, fps)[0][:1], round(12 * fps), axis=0)
    raw = noisy(still, noise, rng)
    skip = round(fps)
    before, after = (values[skip:].std(axis=0).mean() for values in (raw, smoothed(raw, fps)))
    steps = [np.diff(v[skip:], axis=0).std() for v in (raw, smoothed(raw, fps))]
    return {
        "jitter_left": round(float(after / before), 4),
        "frame_to_frame_left": round(float(steps[1] / steps[0]), 4),
    }


def motion(noise: tuple[float, float], fps: float) -> dict[str, float]:
    """Everybody who moves."""
    rng = np.random.default_rng(2)
    along = power = error = raw_error = 0.0
    for track in [track for seed in range(_SEEDS) for track in tracks(seed, fps)]:
        size_px = np.ptp(track, axis=1).max(axis=-1).mean()
        raw = noisy(track, noise, rng)
        shown = smoothed(raw, fps)
        velocity = np.gradient(track, axis=0)
        moves = np.linalg.norm(velocity, axis=-1) * fps / size_px > _MOVES_FROM
        moves[:8] = False
        along += float(((track - shown) * velocity).sum(axis=-1)[moves].sum())
        power += float(np.square(velocity).sum(axis=-1)[moves].sum())
        error += float(np.square((shown - track) / size_px).sum(axis=-1)[moves].mean())
        raw_error += float(np.square((raw - track) / size_px).sum(axis=-1)[moves].mean())
    return {
        "lag_frames": round(along / power, 4),
        "error_ratio": round(float(np.sqrt(error / raw_error)), 4),
    }


def photographed(model: Path, fps: float = 30.0) -> dict[str, float]:
    """A drawn person at rest, four grey levels of sensor noise, followed by the model."""
    scene = next(iter(film(ClipRequest(1.0, 1.0, 3, persons=1))))
    estimator, rng = FrameEstimator(open_pipeline(model)), np.random.default_rng(4)
    seen = []
    for _ in range(round(4 * fps)):
        grain = rng.normal(0, 4, scene.image.shape)
        poses = estimator.estimate(np.clip(scene.image + grain, 0, 255).astype(np.uint8))
        if len(poses):
            seen.append(poses.keypoints_px[0].astype(np.float64))
    raw = np.stack(seen)
    skip = round(fps)
    before, after = (values[skip:].std(axis=0).mean() for values in (raw, smoothed(raw, fps)))
    size_px = float(np.ptp(raw[0], axis=0).max())
    return {
        "frames": len(raw),
        "jitter_of_size": round(float(before) / size_px, 6),
        "jitter_left": round(float(after / before), 4),
    }


def main() -> None:
    """Measures, prints and writes the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="pose model of crops with its spec inside")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    rows = {
        f"{name}_{fps:g}fps": rest(noise, fps) | motion(noise, fps)
        for name, noise in _NOISES.items()
        for fps in _RATES_FPS
    }
    result: dict[str, Any] = {
        "schema": "edgepose.smoothing_benchmark/1",
        "edgepose": __version__,
        "options": asdict(SmoothingOptions()),
        "rows": rows,
        "photographed": None,
        "command": "python benchmarks/smoothing.py"
        + (f" --model {arguments.model.name}" if arguments.model else ""),
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
    }
    if arguments.model:
        model = {"model_sha256": sha256_of_path(arguments.model)}
        result["photographed"] = photographed(arguments.model) | model
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("rows", "photographed")}, indent=2))


if __name__ == "__main__":
    main()
