"""How a model file that edgepose wrote came to be: recipe, parents, tools. It travels inside the file.

Beside it the records of ``edgepose convert`` and ``edgepose models inspect``.
"""

from __future__ import annotations

from typing import Literal

from edgepose.errors import ModelError
from edgepose.records.model_spec import ModelSpec
from edgepose.records.record import Record, from_json, to_json

RangeMethod = Literal["average", "minmax", "percentile", "mse", "entropy", "learned", "none"]


class ExcludedTensor(Record, frozen=True, kw_only=True):
    """A tensor or op that is left out of quantization, and why."""

    name: str
    reason: str


class QuantizationRecipe(Record, frozen=True, kw_only=True):
    """A recipe.

    The name reads ``<kind>_wi<weight bits>_ai<activation bits>`` or ``float16`` / ``float32``.

    Attributes:
        name: For example ``static_wi8_ai8``.
        kind: ``static`` needs calibration data; ``dynamic`` quantizes weights only and activations at
            run time; ``cast`` stores the weights as float16; ``none`` leaves the model as it is.
        weight_bits: Bits of a stored weight.
        activation_bits: Bits of an activation; 32 or 16 means float.
        per_channel: Whether weights have one scale per output channel.
        symmetric_activations: Whether activations have zero point 0.
        range_method: How activation ranges are set from calibration data: ``average`` takes the mean over
            the crops of each crop's least and greatest value, ``minmax`` the least and greatest of all,
            where a single odd crop widens a range for good (measured on TinyPose-256: 46.7 against 29.8 AP);
            ``percentile`` cuts 0.01 % off either end, ``mse`` takes the range with the least rounding and
            clipping noise at the outputs, ``entropy`` the one that keeps most of the distribution;
            ``learned`` says that quantization-aware fine-tuning set them, and no images give them again.
        exact_input: Whether the normalization is undone in float in front of the first layer, so that every
            pixel level is a whole number of int8 steps.
        equalize: Whether channels are scaled across layers so that one step fits all of a tensor.
        round_weights: Whether weights are rounded by what their inputs have in common, and biases corrected.
        integer_io: Whether the model's inputs and outputs are integer too.
        sample_count: Number of calibration crops used.
        excluded: What stays in float, each with its reason.
    """

    name: str
    kind: Literal["static", "dynamic", "cast", "none"]
    weight_bits: Literal[8, 16, 32]
    activation_bits: Literal[8, 16, 32]
    per_channel: bool = True
    symmetric_activations: bool = False
    range_method: RangeMethod = "average"
    integer_io: bool = False
    sample_count: int = 64
    exact_input: bool = False
    equalize: bool = False
    round_weights: bool = False
    excluded: tuple[ExcludedTensor, ...] = ()

    @property
    def is_integer(self) -> bool:
        """Whether activations are integer as well as weights."""
        return self.kind == "static"


RECIPES: dict[str, QuantizationRecipe] = {
    recipe.name: recipe
    for recipe in (
        QuantizationRecipe(name="static_wi8_ai8", kind="static", weight_bits=8, activation_bits=8),
        QuantizationRecipe(
            name="static_wi8_ai8_integer_io",
            kind="static",
            weight_bits=8,
            activation_bits=8,
            integer_io=True,
        ),
        QuantizationRecipe(
            name="static_wi8_ai8_symmetric",
            kind="static",
            weight_bits=8,
            activation_bits=8,
            symmetric_activations=True,
        ),
        QuantizationRecipe(
            name="dynamic_wi8", kind="dynamic", weight_bits=8, activation_bits=32, range_method="none"
        ),
        QuantizationRecipe(
            name="float16", kind="cast", weight_bits=16, activation_bits=32, range_method="none"
        ),
        QuantizationRecipe(
            name="float32", kind="none", weight_bits=32, activation_bits=32, range_method="none"
        ),
    )
}


# The key of the lineage in ONNX metadata_props and TFLite metadata, beside the spec's.
LINEAGE_METADATA_KEY = "edgepose.lineage"


class GoldenPose(Record, frozen=True, kw_only=True):
    """What the float parent sees in one generated image.

    Attributes:
        seed: The image's seed for the generator (figures, or coloured patches from 9000 on).
        image_sha256: Digest of the image's RGB bytes.
        width_px: Image width.
        height_px: Image height.
        box_xyxy_px: The person box given to a model that works on crops; None for the whole image.
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
        golden: The float parent's poses on generated images.
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


class TensorReport(Record, frozen=True, kw_only=True):
    """An input or output.

    Attributes:
        name: Name in the file.
        shape: Sizes; -1 where the file leaves one open.
        dtype: Element type, in numpy's spelling.
        scale: Quantization step, or None.
        zero_point: The integer that stands for 0, or None.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


class ModelInspection(Record, frozen=True, kw_only=True):
    """What a model file is.

    Attributes:
        schema: The record's name and version.
        format: ``onnx``, ``tflite``, ``keras``, ``keras_h5`` or ``saved_model``.
        precision: ``float32``, ``float16`` (stored weights), ``int8`` or ``mixed``.
        size_bytes: Size of the file, or of all files of a SavedModel.
        sha256: Digest of the file, or of a SavedModel's names and contents.
        inputs: Input tensors.
        outputs: Output tensors.
        ops: Count of every op (of every layer for Keras).
        integer_only: Whether no tensor of the whole file is float; None where that cannot be told.
        float_ops: Count of the ops that compute in float.
        spec: The spec inside the file, or the given one, or None.
        spec_from: ``file``, ``option``, ``known model`` or ``missing``.
        missing: What has to be given before edgepose can run the model.
    """

    schema: str
    format: str
    precision: str
    size_bytes: int
    sha256: str
    inputs: tuple[TensorReport, ...]
    outputs: tuple[TensorReport, ...]
    ops: dict[str, int]
    integer_only: bool | None
    float_ops: dict[str, int]
    spec: ModelSpec | None
    spec_from: str
    missing: tuple[str, ...]

    @property
    def float_op_names(self) -> tuple[str, ...]:
        """One name for each op that computes in float."""
        return tuple(name for name, count in self.float_ops.items() for _ in range(count))


class OutputParity(Record, frozen=True, kw_only=True):
    """How far one output of the converted model is from its parent's.

    Attributes:
        name: The parent's output.
        shape: The parent's shape.
        permutation: ``parent.transpose(permutation)`` has the converted model's axis order.
        max_abs_error: Largest difference over all images.
        value_range: Largest minus smallest value of the parent.
        correlation: Pearson's, over all values.
        argmax_agreement: Share of heatmaps whose highest cell is the same; None for other outputs.
    """

    name: str
    shape: tuple[int, ...]
    permutation: tuple[int, ...]
    max_abs_error: float
    value_range: float
    correlation: float
    argmax_agreement: float | None


class ConversionReport(Record, frozen=True, kw_only=True):
    """What a conversion did.

    Attributes:
        schema: The record's name and version.
        source_sha256: Digest of the model it started from.
        route: ``direct``, ``onnx2tf``, ``tensorflow`` or ``onnxruntime``.
        route_note: Why this route was taken where another comes first; empty otherwise.
        model: The written file.
        parity: Every output against the parent's.
        pictures: Number of images that were compared.
        seconds: Duration.
    """

    schema: str
    source_sha256: str
    route: str
    route_note: str
    model: ModelInspection
    parity: tuple[OutputParity, ...]
    pictures: int
    seconds: float
