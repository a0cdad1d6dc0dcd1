"""What a model tells about images: preprocessing, who is in them, stability of its ranges.

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
from edgepose.host.data.audit.image_facts import PictureFacts
from edgepose.host.data.audit.preprocess_parity import check_parity
from edgepose.host.data.calibration_set import CropSample, RepresentativeInputs
from edgepose.host.data.data_folder import DataFolder
from edgepose.pose.boxes import enclosing_box
from edgepose.pose.poses import Poses
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

# Enough to see what is missing; a folder of thousands need not be run whole.
MAX_PICTURES = 200


def persons_seen(pipeline: PosePipeline, pictures: Sequence[PictureFacts]) -> list[AuditedPerson]:
    """Runs a model over pictures.

    A model that works on crops takes the whole picture as its crop, so it sees one person in each. A
    person's box is the one around the keypoints whose score reaches the spec's ``min_pose_score``.

    Raises:
        ConfigError: A picture vanished.
        ModelError: The model failed.
    """
    found: list[AuditedPerson | None] = []
    for picture in pictures:
        poses = confident(pipeline.estimate(read_image_rgb(picture.path)), pipeline.spec.min_pose_score)
        found.extend(
            _audited(picture, poses, index, pipeline.spec.min_pose_score) for index in range(len(poses))
        )
    return [person for person in found if person is not None]


def sampled(pictures: Sequence[PictureFacts], most: int = MAX_PICTURES) -> list[PictureFacts]:
    """Up to ``most`` pictures, chosen by their digests and so at random but always the same."""
    return sorted(pictures, key=lambda picture: picture.sha256)[:most]


def _audited(picture: PictureFacts, poses: Poses, index: int, min_score: float) -> AuditedPerson | None:
    keypoints, scores = poses.keypoints_px[index], poses.keypoint_scores[index]
    box = enclosing_box(keypoints, scores, min_score)
    if box is None:
        return None
    sure = np.asarray(scores >= min_score, dtype=np.bool_)
    sides = np.maximum(box[2:] - box[:2], 1.0)
    return AuditedPerson(
        file=picture.path.name,
        annotation_id=None,
        image_wh=(picture.width_px, picture.height_px),
        box_xyxy_px=box.astype(np.float64),
        area_px2=float(sides.prod()) * BOX_TO_MASK_AREA,
        names=poses.skeleton.keypoint_names,
        keypoints_px=keypoints.astype(np.float64),
        there=sure,
        visible=sure,
    )


MAX_CROPS_EACH = 32
_SHOWN = 10
_FEWEST_FOR_RANKS = 3
# A tensor that is zero in one half and not in the other has no finite ratio.
_LARGEST_RATIO = 1e6

Ranges = dict[str, float]


def range_stability(
    model: Path, backend: Backend, spec: InputSpec, samples: Sequence[CropSample], seed: int
) -> RangeStability | None:
    """Runs a float model on two random halves of the crops.

    Returns:
        None with fewer than two crops.

    Raises:
        ConfigError: A picture vanished.
        ModelError: The model cannot be run tensor by tensor.
    """
    order = np.random.default_rng(seed).permutation(len(samples))[: 2 * MAX_CROPS_EACH]
    each = len(order) // 2
    if each == 0:
        return None
    halves = [order[:each], order[each : 2 * each]]
    first, second = (
        _ranges(open_tensors(model), RepresentativeInputs(spec, backend.input, [samples[i] for i in half]))
        for half in halves
    )
    return _compared(first, second, (sha256_of_model(model), each, seed))


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


def _compared(first: Ranges, second: Ranges, about: tuple[str, int, int]) -> RangeStability | None:
    names = [name for name in first if name in second and max(first[name], second[name]) > 0]
    if not names:
        return None
    tensors = [_tensor(name, first[name], second[name]) for name in names]
    ratios = np.array([tensor.ratio for tensor in tensors])
    return RangeStability(
        model_sha256=about[0],
        crops_each=about[1],
        seed=about[2],
        tensors=len(tensors),
        median_ratio=round(float(np.median(ratios)), 4),
        p95_ratio=round(float(np.percentile(ratios, 95)), 4),
        worst_ratio=round(float(ratios.max()), 4),
        rank_correlation=_rank_correlation(first, second, names),
        worst=tuple(sorted(tensors, key=lambda tensor: (-tensor.ratio, tensor.name))[:_SHOWN]),
    )


def _tensor(name: str, first: float, second: float) -> UnstableTensor:
    narrow, wide = sorted((first, second))
    ratio = min(wide / narrow, _LARGEST_RATIO) if narrow > 0 else _LARGEST_RATIO
    return UnstableTensor(name=name, first_range=first, second_range=second, ratio=round(ratio, 4))


def _rank_correlation(first: Ranges, second: Ranges, names: Sequence[str]) -> float | None:
    """Spearman's: Pearson's correlation of the ranks, equal values sharing their mean rank."""
    if len(names) < _FEWEST_FOR_RANKS:
        return None
    ranks = [_ranks(np.array([ranges[name] for name in names])) for ranges in (first, second)]
    if not all(rank.std() for rank in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 4)


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[inverse], np.float64)


Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class AuditRequest:
    """An audit.

    Attributes:
        folder: The data folder.
        against: Another folder that must share no picture with it, such as the evaluation set.
        minimum: Fewest different pictures.
        model: The pose model that will be calibrated: checks preprocessing and ranges, and finds the
            persons where there are no labels.
        spec_file: Spec of a model that carries none.
        teacher: A pose model to hold the labels against.
        teacher_spec: Spec of a teacher that carries none.
        seed: Of the two halves for the ranges.
        progress: Called with (pictures read, pictures in all).
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
    """Fewest different pictures: a device profile's ``min_calibration_images``, else the default.

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
        parity: Its preprocessing on these pictures.
        ranges: Stability of its activation ranges; None where one crop is all there is.
        persons: Who it sees in up to 200 pictures; empty where labels tell that.
        looked_at: Names of those pictures.
    """

    parity: PreprocessParity
    ranges: RangeStability | None
    persons: tuple[AuditedPerson, ...]
    looked_at: tuple[str, ...]


def ask_model(
    request: AuditRequest, folder: DataFolder, pictures: Sequence[PictureFacts]
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
    labelled = any(image.person_boxes_xyxy_px for image in folder.images)
    looked_at = [] if labelled else sampled([picture for picture in pictures if not picture.is_flat])
    return ModelFindings(
        parity=check_parity(backend, spec.input, crops, sha256_of_model(request.model)),
        ranges=range_stability(request.model, backend, spec.input, crops, request.seed),
        persons=tuple(persons_seen(pipeline, looked_at)),
        looked_at=tuple(picture.path.name for picture in looked_at),
    )


def _crops(folder: DataFolder, *, whole: bool) -> list[CropSample]:
    """One crop a picture, by the order of the digests: labelled persons where there are any."""
    images = sorted({image.sha256: image for image in folder.images}.values(), key=lambda image: image.sha256)
    boxes = [image.person_boxes_xyxy_px or () for image in images]
    if whole or not any(boxes):
        chosen = [CropSample(image.path, image.sha256, None) for image in images]
    else:
        chosen = [
            CropSample(image.path, image.sha256, inside[0])
            for image, inside in zip(images, boxes, strict=True)
            if inside
        ]
    return chosen[: 2 * MAX_CROPS_EACH]
