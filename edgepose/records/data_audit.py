"""What ``edgepose data audit`` reports, and the manifest of a data folder."""

from __future__ import annotations

from typing import Literal

from edgepose.records.quantization import DataFolderCounts
from edgepose.records.record import Record

LabelErrorKind = Literal[
    "left_right_swapped",
    "outside_box",
    "outside_picture",
    "limb_ratio",
    "labelled_twice",
    "teacher_disagrees",
    "size_mismatch",
]


class Spread(Record, frozen=True, kw_only=True):
    """How a figure spreads over the images.

    Attributes:
        low: Smallest value.
        p5: 5th percentile.
        median: 50th percentile.
        p95: 95th percentile.
        high: Largest value.
    """

    low: float
    p5: float
    median: float
    p95: float
    high: float


class PictureFigures(Record, frozen=True, kw_only=True):
    """The images by themselves.

    Attributes:
        brightness: Mean grey value, 0 to 255.
        contrast: Standard deviation of the grey values, 0 to 127.5.
        sharpness: Variance of the Laplacian of the grey image, measured with its longer side scaled to
            ``sharpness_side_px``; low is blurred.
        sharpness_side_px: That side in pixels.
        width_px: Image widths.
        height_px: Image heights.
        flat_files: Images that show nothing: black, white or of one colour.
    """

    brightness: Spread
    contrast: Spread
    sharpness: Spread
    sharpness_side_px: int
    width_px: Spread
    height_px: Spread
    flat_files: tuple[str, ...]


class Leak(Record, frozen=True, kw_only=True):
    """An image that stands in both folders.

    Attributes:
        file: Name in the audited folder.
        other: Name in the other folder.
        kind: ``same_bytes``, ``near_copy`` (rescaled, recompressed, brightened, slightly cropped), or
            ``same_scene`` (alike, yet another picture: no problem by itself).
        correlation: Of the aligned details, 1 for the same image.
        hash_distance: Hamming distance of the perceptual hashes, 0 to 63.
    """

    file: str
    other: str
    kind: Literal["same_bytes", "near_copy", "same_scene"]
    correlation: float
    hash_distance: int


class SliceCount(Record, frozen=True, kw_only=True):
    """How many images or persons have a property.

    Attributes:
        group: What is looked at, such as ``scale``.
        name: The bin, such as ``small``.
        unit: ``pictures`` or ``persons``.
        count: Number in this bin.
        share: Of all in the group where it could be told.
    """

    group: str
    name: str
    unit: Literal["pictures", "persons"]
    count: int
    share: float


class GroupBalance(Record, frozen=True, kw_only=True):
    """How even the bins of a group are filled.

    Attributes:
        group: The group.
        known: Images or persons where it could be told.
        unknown: Those where it could not.
        entropy: Shannon entropy over its maximum: 1 is even, 0 means all in one bin; None without a person.
        min_share: Share of the emptiest bin.
        max_share: Share of the fullest bin.
    """

    group: str
    known: int
    unknown: int
    entropy: float | None
    min_share: float
    max_share: float


class PersonFigures(Record, frozen=True, kw_only=True):
    """The persons in the images.

    Attributes:
        poses_from: ``labels``, ``model`` or ``none``.
        persons: Number of persons.
        pictures_with_persons: Images with at least one.
        keypoint_visibility: Keypoint name to the share of persons whose keypoint is there.
        height_share: Box height over image height; None without persons.
    """

    poses_from: Literal["labels", "model", "none"]
    persons: int
    pictures_with_persons: int
    keypoint_visibility: dict[str, float]
    height_share: Spread | None


class LabelError(Record, frozen=True, kw_only=True):
    """A label that looks wrong, for a person to look at.

    Attributes:
        file: Image.
        annotation_id: The annotation's ``id``; None where the image as a whole is meant.
        kind: What is wrong.
        score: How sure, 0 to 1, higher is surer; the list is sorted by it.
        reason: In words.
    """

    file: str
    annotation_id: int | None
    kind: LabelErrorKind
    score: float
    reason: str


class TeacherAgreement(Record, frozen=True, kw_only=True):
    """The labels against what a teacher model sees in the labelled boxes.

    Attributes:
        model_sha256: The teacher.
        persons: Persons compared.
        mean_oks: Mean OKS; None where none was compared.
        median_oks: Median OKS.
    """

    model_sha256: str
    persons: int
    mean_oks: float | None
    median_oks: float | None


class PreprocessParity(Record, frozen=True, kw_only=True):
    """The device's preprocessing against an independent oracle, and what reaches the model.

    Attributes:
        model_sha256: The model.
        samples: Crops or images compared.
        mean_error_levels: Mean absolute difference in grey levels (0 to 255).
        max_error_levels: Largest difference in grey levels.
        input_mean: Mean of the model's real input values, one per channel in the model's colour order.
        input_std: Their standard deviation.
        agrees: Whether the difference is within the rounding of pixels and of an integer input.
        normalisation_as_expected: Whether mean and deviation lie where natural images lie.
    """

    model_sha256: str
    samples: int
    mean_error_levels: float
    max_error_levels: float
    input_mean: tuple[float, float, float]
    input_std: tuple[float, float, float]
    agrees: bool
    normalisation_as_expected: bool


class UnstableTensor(Record, frozen=True, kw_only=True):
    """A tensor whose range depends on which half of the images sets it.

    Attributes:
        name: Tensor.
        first_range: Width of its range (zero included) in the first half.
        second_range: The same in the second half.
        ratio: The wider over the narrower.
    """

    name: str
    first_range: float
    second_range: float
    ratio: float


class RangeStability(Record, frozen=True, kw_only=True):
    """Activation ranges of two random halves of the images.

    Attributes:
        model_sha256: The model.
        crops_each: Crops in each half.
        seed: Of the split.
        tensors: Number of tensors compared.
        median_ratio: Median over tensors of wider over narrower range.
        p95_ratio: 95th percentile.
        worst_ratio: The worst.
        rank_correlation: Spearman's, of the ranges of both halves; None for fewer than three tensors.
        worst: The worst tensors, worst first.
    """

    model_sha256: str
    crops_each: int
    seed: int
    tensors: int
    median_ratio: float
    p95_ratio: float
    worst_ratio: float
    rank_correlation: float | None
    worst: tuple[UnstableTensor, ...]


class DataAuditReport(Record, frozen=True, kw_only=True):
    """``edgepose data audit --json``.

    Attributes:
        folder: The folder as given.
        digest: sha256 over the sorted digests of the usable images.
        counts: What the folder holds.
        unreadable_files: Their names.
        duplicate_groups: File names that hold the same bytes, one tuple per content.
        near_duplicate_groups: File names of nearly the same image, one tuple per image.
        same_scene_groups: File names of images that look alike, copies among them, one tuple per scene.
        distinct_pictures: Images that are neither copies nor resaved copies of another, nor flat.
        minimum_pictures: Fewest of them for a fit folder.
        brightness_low: Darkest image's mean grey value, 0 to 255.
        brightness_median: Median of the mean grey values.
        brightness_high: Brightest image's mean grey value.
        pictures: The images by themselves.
        persons: The persons in them.
        slices: Images and persons per bin.
        balance: How even the bins are filled.
        label_errors: Suspicious labels, surest first; empty without labels.
        label_error_counts: Kind to number.
        licences: Licence to number of images; ``unknown`` where none is stated.
        fit: Whether there is no problem.
        problems: Why the folder must not be used, in words.
        missing: What would make it better, in words.
        against: The other folder, or None.
        leaked_files: Images of this folder whose bytes are in the other one too.
        leaks: Images of this folder that are in the other one, or of the same scene.
        teacher: Agreement with a teacher, where one was given.
        parity: Preprocessing, where a model was given.
        ranges: Stability of activation ranges, where a model was given.
        schema: Name and version of this record.
    """

    folder: str
    digest: str
    counts: DataFolderCounts
    unreadable_files: tuple[str, ...]
    duplicate_groups: tuple[tuple[str, ...], ...]
    near_duplicate_groups: tuple[tuple[str, ...], ...]
    same_scene_groups: tuple[tuple[str, ...], ...]
    distinct_pictures: int
    minimum_pictures: int
    brightness_low: float
    brightness_median: float
    brightness_high: float
    pictures: PictureFigures
    persons: PersonFigures
    slices: tuple[SliceCount, ...]
    balance: tuple[GroupBalance, ...]
    label_errors: tuple[LabelError, ...]
    label_error_counts: dict[str, int]
    licences: dict[str, int]
    fit: bool
    problems: tuple[str, ...]
    missing: tuple[str, ...]
    against: str | None = None
    leaked_files: tuple[str, ...] = ()
    leaks: tuple[Leak, ...] = ()
    teacher: TeacherAgreement | None = None
    parity: PreprocessParity | None = None
    ranges: RangeStability | None = None
    schema: str = "edgepose.data_audit/1"


class ManifestFile(Record, frozen=True, kw_only=True):
    """One image of a manifest.

    Attributes:
        file: Path relative to the data folder, with forward slashes.
        sha256: Digest of its bytes.
        licence: As stated, else ``unknown``.
        source: Where it comes from, else ``unknown``.
        consent: What is known about the consent of the persons in it, else ``unknown``.
    """

    file: str
    sha256: str
    licence: str = "unknown"
    source: str = "unknown"
    consent: str = "unknown"


class DatasetManifest(Record, frozen=True, kw_only=True):
    """``edgepose.dataset/1``: the images of a data folder with digests and licences.

    Attributes:
        schema: Name and version of this record.
        files: Sorted by name.
    """

    schema: Literal["edgepose.dataset/1"] = "edgepose.dataset/1"
    files: tuple[ManifestFile, ...]
