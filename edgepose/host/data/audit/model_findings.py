"""What a model tells about images: preprocessing, persons in them, stability of its ranges.

The device's preprocessing on these very images is held against an oracle of what the model's input must
hold. The oracle shares no line with ``pose.transform`` or ``runtime.preprocess``: plain bilinear sampling in
float64, written down from the description of the spec.

* ``crop``: the box grown to the input's aspect, times ``box_scale`` about its centre; input pixel u shows
  image position ``x0 + u * w / W``; outside lies ``pad_value``.
* ``letterbox``: one scale for both axes, pixel centres map to pixel centres; outside lies ``pad_value``.
* ``stretch``: each axis its own scale, pixel centres map to pixel centres; the edge goes on outside.

Where two random halves of the images give other ranges, those hang on which images were drawn, and so does
the quantized model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgepose.host.data.audit.audited_person import AuditedPerson
from edgepose.host.data.audit.fitness import DEFAULT_MINIMUM
from edgepose.host.data.audit.near_copies import ImageFacts
from edgepose.host.data.calibration_set import CropSample, RepresentativeInputs
from edgepose.host.data.data_folder import DataFolder
from edgepose.pose.boxes import enclosing_box
from edgepose.pose.similarity import BOX_TO_MASK_AREA
from edgepose.records.data_audit import PreprocessParity, RangeStability, UnstableTensor
from edgepose.records.device_profile import find_profile
from edgepose.records.model_spec import InputSpec
from edgepose.runtime.activation_statistics import KeptTensors, open_tensors
from edgepose.runtime.backend import Backend
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.model_file import load_spec, sha256_of_model
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.pipeline import PosePipeline, confident
from edgepose.runtime.preprocess import Preprocessor

_PARITY_SAMPLES = 8
# Rounding to bytes costs a quarter of a level on average, OpenCV's steps of 1/32 pixel as much again on
# detailed images; half a pixel beside costs several levels.
_MAX_MEAN_ERROR_LEVELS = 1.0
# Mean and deviation, in grey levels, between which natural images and crops of them lie.
_NATURAL_MEAN, _NATURAL_STD = (20.0, 235.0), (10.0, 125.0)
# A model's input that was normalized at all is of this order; mean and std of the spec given for 0..1 where
# pixels are 0..255 make it hundreds.
_LARGEST_NORMALIZED = 16.0
_MAX_CROPS_EACH = 32
_SHOWN = 10
_FEWEST_FOR_RANKS = 3
# A tensor that is zero in one half and not in the other has no finite ratio.
_LARGEST_RATIO = 1e6
# Enough to see what is missing; a folder of thousands need not be run whole.
_MAX_IMAGES = 200

Levels = NDArray[np.float64]
Ranges = dict[str, float]
Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class AuditRequest:
    """An audit.

    Attributes:
        against: Another folder that must share no image with it, such as the evaluation set.
        minimum: Fewest different images.
        model: The pose model that will be calibrated: checks preprocessing and ranges, and finds the
            persons where there are no labels.
        spec_file: Spec of a model that carries none.
        teacher: A pose model to hold the labels against.
        teacher_spec: Spec of a teacher that carries none.
        seed: Of the two halves for the ranges.
        progress: Called with (images read, images in all).
    """

    folder: Path
    against: Path | None = None
    minimum: int = DEFAULT_MINIMUM
    model: Path | None = None
    spec_file: Path | None = None
    teacher: Path | None = None
    teacher_spec: Path | None = None
    seed: int = 0
    progress: Progress = _silent


def minimum_pictures(profile_name: str | None) -> int:
    """Fewest different images: a device profile's ``min_calibration_images``, else the default.

    Raises:
        ConfigError: There is no such profile.
    """
    if profile_name is None:
        return DEFAULT_MINIMUM
    return find_profile(profile_name).quantization.min_calibration_images


@dataclass(frozen=True, eq=False)
class ModelFindings:
    """What a model tells.

    Attributes:
        ranges: None where one crop is all there is.
        persons: Those it sees in up to 200 images; empty where labels tell that.
        looked_at: Names of those images.
    """

    parity: PreprocessParity
    ranges: RangeStability | None
    persons: tuple[AuditedPerson, ...]
    looked_at: tuple[str, ...]


def ask_model(
    request: AuditRequest, folder: DataFolder, images: Sequence[ImageFacts]
) -> ModelFindings | None:
    """Runs the request's model; None where there is none.

    Raises:
        ConfigError: The model has no spec, or is a detector.
        ModelError: The model is damaged or disagrees with its spec.
        MissingDependencyError: Its runtime is not installed.
    """
    if request.model is None:
        return None
    spec = load_spec(request.model, request.spec_file)
    backend = open_backend(request.model)
    pipeline = PosePipeline(backend, spec)
    crops = _crops(folder, whole=not spec.uses_person_boxes)
    looked_at: list[ImageFacts] = []
    if not any(image.person_boxes_xyxy_px for image in folder.images):
        # By their digests: as good as at random, but always the same.
        shown = (image for image in images if not image.is_flat)
        looked_at = sorted(shown, key=lambda image: image.sha256)[:_MAX_IMAGES]
    return ModelFindings(
        parity=check_parity(backend, spec.input, crops, sha256_of_model(request.model)),
        ranges=range_stability(request.model, backend, spec.input, crops, request.seed),
        persons=tuple(person for image in looked_at for person in _persons_in(image, pipeline)),
        looked_at=tuple(image.path.name for image in looked_at),
    )


def _crops(folder: DataFolder, *, whole: bool) -> list[CropSample]:
    """One crop an image, by the order of the digests: labelled persons where there are any."""
    images = sorted({image.sha256: image for image in folder.images}.values(), key=lambda image: image.sha256)
    if whole or not any(image.person_boxes_xyxy_px for image in images):
        chosen = [CropSample(image.path, image.sha256, None) for image in images]
    else:
        chosen = [
            CropSample(image.path, image.sha256, image.person_boxes_xyxy_px[0])
            for image in images
            if image.person_boxes_xyxy_px
        ]
    return chosen[: 2 * _MAX_CROPS_EACH]


def _persons_in(image: ImageFacts, pipeline: PosePipeline) -> list[AuditedPerson]:
    """The persons that a model sees, one where it takes the whole image as its crop.

    A person's box is the one around the keypoints whose score reaches the spec's ``min_pose_score``.
    """
    least = pipeline.spec.min_pose_score
    poses = confident(pipeline.estimate(read_image_rgb(image.path)), least)
    persons = []
    for keypoints, scores in zip(poses.keypoints_px, poses.keypoint_scores, strict=True):
        box = enclosing_box(keypoints, scores, least)
        if box is None:
            continue
        sure = np.asarray(scores >= least, dtype=np.bool_)
        person = AuditedPerson(
            file=image.path.name,
            annotation_id=None,
            image_wh=(image.width_px, image.height_px),
            box_xyxy_px=box.astype(np.float64),
            area_px2=float(np.maximum(box[2:] - box[:2], 1.0).prod()) * BOX_TO_MASK_AREA,
            names=poses.skeleton.keypoint_names,
            keypoints_px=keypoints.astype(np.float64),
            there=sure,
            visible=sure,
        )
        persons.append(person)
    return persons


def check_parity(
    backend: Backend, spec: InputSpec, samples: Sequence[CropSample], model_sha256: str
) -> PreprocessParity:
    """Preprocesses a few crops both ways.

    Raises:
        ConfigError: An image vanished.
        ModelError: Spec and model disagree.
    """
    info, scale, shift = backend.input, np.asarray(spec.std), np.asarray(spec.mean)
    preprocessor = Preprocessor(spec, info)
    errors, inputs = [], []
    for sample in samples[:_PARITY_SAMPLES]:
        image = read_image_rgb(sample.image_path)
        tensor = np.zeros(info.shape, info.dtype)
        preprocessor.write(image, preprocessor.transform_for(image, sample.box_xyxy_px), tensor)
        real = info.dequantize(tensor)[0].astype(np.float64)
        real = real.transpose(1, 2, 0) if spec.layout == "NCHW" else real
        expected = expected_levels(image, spec, sample.box_xyxy_px)
        errors.append(np.abs(real * scale + shift - expected).ravel())
        inputs.append(real.reshape(-1, 3))
    error, values = np.concatenate(errors), np.concatenate(inputs)
    mean, std = values.mean(axis=0), values.std(axis=0)
    # Rounding to an integer input's steps is no error of the preprocessing: half a step at most.
    rounding = info.scale / 2 * max(spec.std) if info.scale else 0.0
    return PreprocessParity(
        model_sha256=model_sha256,
        samples=len(inputs),
        mean_error_levels=round(float(error.mean()), 4),
        max_error_levels=round(float(error.max()), 3),
        input_mean=(float(mean[0]), float(mean[1]), float(mean[2])),
        input_std=(float(std[0]), float(std[1]), float(std[2])),
        agrees=bool(error.mean() <= _MAX_MEAN_ERROR_LEVELS + rounding),
        normalisation_as_expected=_as_expected(mean, std, spec),
    )


def _as_expected(mean: Levels, std: Levels, spec: InputSpec) -> bool:
    scale, shift = np.asarray(spec.std), np.asarray(spec.mean)
    levels, deviation = mean * scale + shift, std * scale
    natural = (
        _NATURAL_MEAN[0] <= levels.min()
        and levels.max() <= _NATURAL_MEAN[1]
        and _NATURAL_STD[0] <= deviation.min()
        and deviation.max() <= _NATURAL_STD[1]
    )
    raw = not shift.any() and bool((scale == 1).all())
    return bool(natural and (raw or float(np.abs(mean).max() + std.max()) < _LARGEST_NORMALIZED))


def expected_levels(
    image: NDArray[np.uint8], spec: InputSpec, box_xyxy_px: NDArray[np.floating] | None
) -> Levels:
    """The resized image, uint8 (H, W, 3), RGB, before normalization.

    Returns:
        float64 (height, width, 3) in grey levels, channels in the spec's colour order.
    """
    xs, ys = _sampled_positions(image, spec, box_xyxy_px)
    outside = None if spec.resize == "stretch" else float(spec.pad_value)
    # One axis after the other.
    rows = _interpolated(image.astype(np.float64), ys, outside)
    sampled = _interpolated(rows.transpose(1, 0, 2), xs, outside).transpose(1, 0, 2)
    return sampled[..., ::-1] if spec.color_order == "BGR" else sampled


def _sampled_positions(
    image: NDArray[np.uint8], spec: InputSpec, box: NDArray[np.floating] | None
) -> tuple[Levels, Levels]:
    """Image x of every input column and image y of every input row."""
    us, vs = np.arange(spec.width_px, dtype=np.float64), np.arange(spec.height_px, dtype=np.float64)
    height, width = image.shape[:2]
    if spec.resize == "crop":
        x0, y0, x1, y1 = (0.0, 0.0, float(width), float(height)) if box is None else (float(v) for v in box)
        w, h, grow = max(x1 - x0, 1.0), max(y1 - y0, 1.0), 1.0 if box is None else spec.box_scale
        aspect = spec.width_px / spec.height_px
        w, h = max(w, h * aspect) * grow, max(h, w / aspect) * grow
        left, top = (x0 + x1) / 2 - w / 2, (y0 + y1) / 2 - h / 2
        return left + us * w / spec.width_px, top + vs * h / spec.height_px
    if spec.resize == "stretch":
        return (us + 0.5) * width / spec.width_px - 0.5, (vs + 0.5) * height / spec.height_px - 0.5
    scale = min(spec.width_px / width, spec.height_px / height)
    left = (spec.width_px - width * scale) / 2 if spec.anchor == "center" else 0.0
    top = (spec.height_px - height * scale) / 2 if spec.anchor == "center" else 0.0
    return (us + 0.5 - left) / scale - 0.5, (vs + 0.5 - top) / scale - 0.5


def _interpolated(image: Levels, places: Levels, outside: float | None) -> Levels:
    """Linear interpolation along the first axis; ``outside`` None repeats the edge."""
    low = np.floor(places).astype(np.int64)
    share = (places - low)[:, None, None]

    def lines(index: NDArray[np.int64]) -> Levels:
        taken = image[np.clip(index, 0, len(image) - 1)]
        if outside is None:
            return taken
        beyond = (index < 0) | (index >= len(image))
        return np.where(beyond[:, None, None], outside, taken)

    return np.asarray(lines(low) * (1 - share) + lines(low + 1) * share)


def range_stability(
    model: Path, backend: Backend, spec: InputSpec, samples: Sequence[CropSample], seed: int
) -> RangeStability | None:
    """Runs a float model on two random halves of the crops; None with fewer than two crops.

    Raises:
        ConfigError: An image vanished.
        ModelError: The model cannot be run tensor by tensor.
    """
    order = np.random.default_rng(seed).permutation(len(samples))[: 2 * _MAX_CROPS_EACH]
    each = len(order) // 2
    if each == 0:
        return None
    first, second = (
        _ranges(open_tensors(model), RepresentativeInputs(spec, backend.input, [samples[i] for i in half]))
        for half in (order[:each], order[each : 2 * each])
    )
    names = [name for name in first if name in second and max(first[name], second[name]) > 0]
    if not names:
        return None
    tensors = [_unstable(name, first[name], second[name]) for name in names]
    ratios = np.array([tensor.ratio for tensor in tensors])
    return RangeStability(
        model_sha256=sha256_of_model(model),
        crops_each=each,
        seed=seed,
        tensors=len(tensors),
        median_ratio=round(float(np.median(ratios)), 4),
        p95_ratio=round(float(np.percentile(ratios, 95)), 4),
        worst_ratio=round(float(ratios.max()), 4),
        rank_correlation=_rank_correlation(first, second, names),
        worst=tuple(sorted(tensors, key=lambda tensor: (-tensor.ratio, tensor.name))[:_SHOWN]),
    )


def _ranges(reader: KeptTensors, inputs: RepresentativeInputs) -> Ranges:
    """Tensor to the width of its range over all inputs, zero included as in every quantizer."""
    low: Ranges = {}
    high: Ranges = {}
    for values in inputs:
        reader.run(values)
        for name in reader.names():
            tensor = reader.tensor(name)
            low[name] = min(low.get(name, 0.0), float(tensor.min()))
            high[name] = max(high.get(name, 0.0), float(tensor.max()))
    return {name: high[name] - low[name] for name in high}


def _unstable(name: str, first: float, second: float) -> UnstableTensor:
    narrow, wide = sorted((first, second))
    ratio = min(wide / narrow, _LARGEST_RATIO) if narrow > 0 else _LARGEST_RATIO
    return UnstableTensor(name=name, first_range=first, second_range=second, ratio=round(ratio, 4))


def _rank_correlation(first: Ranges, second: Ranges, names: Sequence[str]) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, equal values sharing their mean rank."""
    if len(names) < _FEWEST_FOR_RANKS:
        return None
    ranks = []
    for ranges in (first, second):
        values = np.array([ranges[name] for name in names])
        _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
        ranks.append((np.cumsum(counts) - (counts - 1) / 2)[inverse])
    if not all(rank.std() for rank in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 4)
