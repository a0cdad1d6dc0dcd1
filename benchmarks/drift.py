"""How often does drift cry wolf, and how many windows does it need to see a planted change?

Persons who do not exist in scenes of all kinds, and with --pictures real photographs: half of the pictures
are what the model is judged on (the reference in its bundle), the other half are the camera. A window is 150
looks, as on a device. Three cameras: one that sees another picture at each look, one where each scene stays
for ten looks, and one where moreover nobody is there and it is dark in a third of the day. A day of windows
is learned (288); then an undisturbed day follows, or two hours of the same pictures made dark, blurred,
turned, smaller or half covered. Picture by picture the built-in detector and model look, or those given.

Usage: python benchmarks/drift.py [--pictures FOLDER] [--runs 20]
       [--model MODEL --model-spec TOML --detector DETECTOR --detector-spec TOML]
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose import __version__
from edgepose.device.monitor.drift_sink import DriftOptions
from edgepose.device.monitor.drift_watch import DriftLimits, DriftWatch
from edgepose.device.run.frame_estimator import FrameEstimator
from edgepose.host.deploy.deployment import LEAST_SAMPLES, REFERENCED
from edgepose.host.synthetic.composition import draw_scene
from edgepose.records.drift_record import DriftReference, DriftStatus
from edgepose.runtime.drift_features import PoseSampler, Samples, histogram, image_samples, no_samples
from edgepose.runtime.image_file import list_image_files, read_image_rgb
from edgepose.runtime.open_model import open_detector, open_pipeline
from edgepose.trust.builtin_models import find_builtin_models
from edgepose.trust.digests import sha256_of_path

RESULT = Path(__file__).resolve().parent / "results" / "drift.json"
_DRAWN = 240
_DAY = 288
_NIGHT_FROM = 192
_DISTURBED_WINDOWS = 24
Image = NDArray[np.uint8]
Rng = np.random.Generator
Sets = dict[str, list[Samples]]


def _dark(image: Image) -> Image:
    return (image * 0.35).astype(np.uint8)


def _blurred(image: Image) -> Image:
    sigma = image.shape[0] / 100
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.uint8)


def _turned(image: Image) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 45, 1.0)
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def _smaller(image: Image) -> Image:
    height, width = image.shape[:2]
    small = cv2.resize(image, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    top, left = (height - small.shape[0]) // 2, (width - small.shape[1]) // 2
    edges = (top, height - small.shape[0] - top, left, width - small.shape[1] - left)
    return np.asarray(cv2.copyMakeBorder(small, *edges, cv2.BORDER_REFLECT_101), np.uint8)


def _covered(image: Image) -> Image:
    """As by a table or a counter: the lower half of the picture."""
    covered = image.copy()
    covered[image.shape[0] // 2 :] = 128
    return covered


CHANGES: dict[str, Callable[[Image], Image]] = {
    "undisturbed": lambda image: image,
    "dark": _dark,
    "blurred": _blurred,
    "turned": _turned,
    "smaller": _smaller,
    "covered": _covered,
}


def looked_at(images: list[Image], estimator: FrameEstimator) -> list[Samples]:
    """What each picture alone tells."""
    found = []
    for image in images:
        samples = no_samples()
        poses = estimator.estimate(image)
        for name, value in image_samples(image).items():
            samples[name].append(value)
        PoseSampler(poses.skeleton).sample(poses, image.shape[0], samples)
        found.append(samples)
    return found


def _together(chosen: list[Samples]) -> Samples:
    window = no_samples()
    for samples in chosen:
        for name, values in samples.items():
            window[name].extend(values)
    return window


@dataclass(frozen=True)
class Camera:
    """How windows come about.

    Attributes:
        stay: So many looks in a row see the same picture.
        nights: Whether a third of the day is dark and nobody is there.
    """

    stay: int
    nights: bool

    def window(self, number: int, day: list[Samples], night: list[Samples], rng: Rng) -> Samples:
        """The window with this number of the day."""
        pictures = night if self.nights and number % _DAY >= _NIGHT_FROM else day
        chosen = rng.integers(0, len(pictures), DriftOptions().samples // self.stay)
        return _together([pictures[index] for index in np.repeat(chosen, self.stay)])


CAMERAS = {
    "another picture at each look": Camera(1, nights=False),
    "scenes that stay": Camera(10, nights=False),
    "scenes that stay, nights": Camera(10, nights=True),
}


def night_of(images: list[Image]) -> list[Samples]:
    """The same places, dark and with nobody there."""
    found = []
    for image in images:
        samples = no_samples()
        for name, value in image_samples((image * 0.1).astype(np.uint8)).items():
            samples[name].append(value)
        samples["persons"].append(0.0)
        found.append(samples)
    return found


def reference_of(pictures: list[Samples]) -> DriftReference:
    """As a deployment makes it."""
    window = _together(pictures)
    features = {
        name: histogram(name, window[name]) for name in REFERENCED if len(window[name]) >= LEAST_SAMPLES
    }
    return DriftReference(pictures=len(pictures), features=features)


def learned(reference: DriftReference, camera: Camera, sets: Sets, rng: Rng) -> DriftWatch:
    """A day at the camera."""
    watch = DriftWatch("0" * 64, reference)
    for number in range(_DAY):
        watch.take(camera.window(number, sets["undisturbed"], sets["night"], rng), "learning")
    return watch


def events_of(
    before: DriftWatch, reference: DriftReference, camera: Camera, day: list[Samples], sets: Sets, rng: Rng
) -> list[tuple[str, str, int]]:
    """Feature, kind and window, from 1, of each event that begins after what was learned."""
    windows = _DAY if day is sets["undisturbed"] else _DISTURBED_WINDOWS
    watch = DriftWatch("0" * 64, reference, before.baseline, DriftStatus(model_sha256="0" * 64))
    return [
        (event.feature, event.kind, number + 1)
        for number in range(windows)
        for event in watch.take(camera.window(number, day, sets["night"], rng), str(number))[0]
    ]


def summary(outcomes: list[list[tuple[str, str, int]]]) -> dict[str, Any]:
    """Of the runs of one change."""
    firsts = [min(number for _, _, number in outcome) for outcome in outcomes if outcome]
    kinds = sorted({(feature, kind) for outcome in outcomes for feature, kind, _ in outcome})
    return {
        "runs": len(outcomes),
        "runs_with_an_event": len(firsts),
        "median_windows_to_the_first_event": float(np.median(firsts)) if firsts else None,
        "share_of_runs": {
            f"{feature}, {kind}": round(
                sum(any(e[:2] == (feature, kind) for e in o) for o in outcomes) / len(outcomes), 3
            )
            for feature, kind in kinds
        },
    }


def measured(images: list[Image], estimator: FrameEstimator, runs: int) -> dict[str, Any]:
    """All changes on one set of pictures."""
    reference = reference_of(looked_at(images[::2], estimator))
    seen = images[1::2]
    sets = {name: looked_at([change(image) for image in seen], estimator) for name, change in CHANGES.items()}
    sets["night"] = night_of(seen)
    result: dict[str, Any] = {"pictures": len(images)}
    for title, camera in CAMERAS.items():
        outcomes: dict[str, list[list[tuple[str, str, int]]]] = {name: [] for name in CHANGES}
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            before = learned(reference, camera, sets, rng)
            for name in CHANGES:
                outcomes[name].append(events_of(before, reference, camera, sets[name], sets, rng))
        result[title] = {name: summary(found) for name, found in outcomes.items()}
    return result


def _given(options: argparse.Namespace) -> list[str]:
    names = ("pictures", "model", "model_spec", "detector", "detector_spec")
    words = [f"--runs {options.runs}"]
    return words + [
        f"--{name.replace('_', '-')} {path.name}"
        for name in names
        if (path := getattr(options, name)) is not None
    ]


def main() -> None:
    """Measures and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--model-spec", type=Path)
    parser.add_argument("--detector", type=Path)
    parser.add_argument("--detector-spec", type=Path)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    models = find_builtin_models()
    model = options.model or models.path_of("pose", "float32")
    detector = options.detector or models.path_of("detector", "float32")
    estimator = FrameEstimator(
        open_pipeline(model, options.model_spec), open_detector(detector, options.detector_spec)
    )
    sets = {"drawn": [draw_scene(seed, (320, 240), 2, "varied").image for seed in range(_DRAWN)]}
    if options.pictures is not None:
        sets["photographs"] = [read_image_rgb(path) for path in list_image_files(options.pictures)]
    result = {
        "schema": "edgepose.benchmark_drift/1",
        "question": "How often does drift cry wolf, and how many windows does it need?",
        "command": " ".join(["python benchmarks/drift.py", *_given(options)]),
        "model": model.name,
        "model_sha256": sha256_of_path(model),
        "detector_sha256": sha256_of_path(detector),
        "looks_a_window": DriftOptions().samples,
        "window_s": DriftOptions().window_s,
        "limits": DriftLimits().__dict__,
        "sets": {name: measured(images, estimator, options.runs) for name, images in sets.items()},
        "versions": {"edgepose": __version__, "python": platform.python_version(), "numpy": np.__version__},
    }
    text = json.dumps(result, indent=1)
    options.output.write_text(f"{text}\n")
    print(text)


if __name__ == "__main__":
    main()
