"""Makes the drift reference of a bundle from the pictures that its model was judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from edgepose.records.drift_record import DriftReference, FeatureName
from edgepose.runtime.drift_features import PoseSampler, histogram, image_samples, no_samples
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.pipeline import PersonDetector, PosePipeline, confident

# What single pictures have; how many persons there are, unrest and latency belong to a place, not to a model.
REFERENCED: tuple[FeatureName, ...] = (
    "brightness", "sharpness", "scale", "confidence", "visibility", "leg_ratio", "arm_ratio", "tilt",
)  # fmt: skip
# Beyond this many pictures a histogram does not change any more.
MOST_PICTURES = 200
LEAST_SAMPLES = 20


def drift_reference(
    pipeline: PosePipeline,
    detector: PersonDetector | None,
    pictures: Sequence[Path],
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> DriftReference:
    """Looks at pictures as the device will.

    Args:
        pipeline: The model that ships.
        detector: In front of it; None lets it look at whole pictures.
        pictures: What it was judged on; evenly spread ones are taken where there are many.
        progress: Called with (pictures done, pictures in all).

    Raises:
        ConfigError: A picture is not readable.
        ModelError: The model failed.
    """
    samples, sampler = no_samples(), PoseSampler(pipeline.spec.pose_skeleton)
    step = max(len(pictures) // MOST_PICTURES, 1)
    chosen = pictures[::step][:MOST_PICTURES]
    for done, path in enumerate(chosen, start=1):
        image = read_image_rgb(path)
        boxes, scores = (None, None) if detector is None else detector.detect(image)
        poses = confident(pipeline.estimate(image, boxes, scores), pipeline.spec.min_pose_score)
        for name, value in image_samples(image).items():
            samples[name].append(value)
        sampler.sample(poses, image.shape[0], samples)
        progress(done, len(chosen))
    features = {
        name: histogram(name, samples[name]) for name in REFERENCED if len(samples[name]) >= LEAST_SAMPLES
    }
    return DriftReference(pictures=len(chosen), features=features)
