"""Where a model file that edgepose wrote came from; it travels inside the file."""

from __future__ import annotations

from edgepose.errors import ModelError
from edgepose.spec.recipe import QuantizationRecipe
from edgepose.spec.records import Record, from_json, to_json

# The key of the lineage in ONNX metadata_props and TFLite metadata, beside the spec's.
LINEAGE_METADATA_KEY = "edgepose.lineage"


class GoldenPose(Record, frozen=True, kw_only=True):
    """What the float parent sees in one generated picture.

    Attributes:
        seed: The picture's seed for the generator (figures, or coloured patches from 9000 on).
        image_sha256: Digest of the picture's RGB bytes.
        width_px: Picture width.
        height_px: Picture height.
        box_xyxy_px: The person box given to a model that works on crops; None for the whole picture.
        area_px2: Object area for OKS.
        keypoints: K rows of x_px, y_px, score.
    """

    seed: int
    image_sha256: str
    width_px: int
    height_px: int
    box_xyxy_px: tuple[float, float, float, float] | None
    area_px2: float
    keypoints: tuple[tuple[float, float, float], ...]


class ParentModel(Record, frozen=True, kw_only=True):
    """A model that this one was made from."""

    file_name: str
    sha256: str
    step: str


class CalibrationRecord(Record, frozen=True, kw_only=True):
    """The data that set the ranges.

    Attributes:
        digest: sha256 over the sorted digests of the image files that were used.
        images: Number of images.
        crops: Number of crops, one per person box.
        boxes_from: ``labels``, ``detector`` or ``whole_image``.
    """

    digest: str
    images: int
    crops: int
    boxes_from: str


class Lineage(Record, frozen=True, kw_only=True):
    """The history of a model file.

    Attributes:
        parents: From the first source to the direct parent.
        tools: Tool name to version.
        precision: ``float32``, ``float16`` or ``int8``.
        recipe: How it was quantized, or None.
        calibration: What it was calibrated on, or None.
        agreement_oks: Mean OKS with the float parent on held-out crops, or None where not measured.
        golden: The float parent's poses on generated pictures.
    """

    parents: tuple[ParentModel, ...]
    tools: dict[str, str]
    precision: str
    recipe: QuantizationRecipe | None = None
    calibration: CalibrationRecord | None = None
    agreement_oks: float | None = None
    golden: tuple[GoldenPose, ...] = ()


def lineage_from_json(text: str, where: str) -> Lineage:
    """Reads the lineage embedded in a model file.

    Raises:
        ModelError: The embedded text is not a lineage.
    """
    return from_json(text, Lineage, f"The lineage inside {where}", ModelError)


def lineage_to_json(lineage: Lineage) -> str:
    """The text that a model file carries."""
    return to_json(lineage)
