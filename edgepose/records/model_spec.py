"""What must be known about a pose model to run it: input, output code, skeleton, licence.

Ready specs for models that people bring along are ``model_specs/*.toml``.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edgepose.errors import ConfigError, ModelError
from edgepose.pose.skeletons import COCO17, Skeleton, skeleton_named
from edgepose.records.files import packaged_folder
from edgepose.records.record import Record, from_json, read_toml, to_json

# The key under which a model file carries its spec: ONNX metadata_props, TFLite metadata.
SPEC_METADATA_KEY = "edgepose"

Positive = Annotated[int, msgspec.Meta(ge=1, le=8192)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
ClassId = Annotated[int, msgspec.Meta(ge=0)]
Triple = tuple[float, float, float]


class SkeletonRecord(Record, frozen=True, kw_only=True):
    """An inline skeleton (the fields of :class:`edgepose.pose.skeletons.Skeleton`)."""

    keypoint_names: tuple[str, ...]
    edges: tuple[tuple[int, int], ...]
    flip_pairs: tuple[tuple[int, int], ...]
    oks_sigmas: tuple[float, ...]
    name: str = "custom"


class InputSpec(Record, frozen=True, kw_only=True):
    """How an image becomes the model's input tensor.

    Attributes:
        name: Tensor name; None where the model has one input.
        width_px: Input width.
        height_px: Input height.
        layout: Axis order of the tensor, batch first.
        color_order: Channel order that the model was trained on.
        resize: ``crop`` cuts a person box; ``letterbox`` pads; ``stretch`` ignores the aspect ratio.
        anchor: Where a letterboxed image sits.
        pad_value: Grey value outside the image, 0 to 255.
        box_scale: Growth of the person box before a crop.
        mean: Subtracted per channel, on 0..255, in ``color_order``.
        std: Divided by per channel, on 0..255, in ``color_order``.
    """

    width_px: Positive
    height_px: Positive
    layout: Literal["NCHW", "NHWC"]
    color_order: Literal["RGB", "BGR"]
    resize: Literal["crop", "letterbox", "stretch"]
    name: str | None = None
    anchor: Literal["center", "top_left"] = "center"
    pad_value: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    box_scale: Annotated[float, msgspec.Meta(gt=0, le=10)] = 1.25
    mean: Triple = (0.0, 0.0, 0.0)
    std: Triple = (1.0, 1.0, 1.0)

    def __post_init__(self) -> None:
        # TOML and Python's JSON know nan and inf, which slip through a plain comparison.
        if not all(0 < value < math.inf for value in self.std):
            raise ValueError("std must be above 0 and finite")
        if not all(map(math.isfinite, self.mean)):
            raise ValueError("mean must be finite")

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.width_px, self.height_px


class HeatmapCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="heatmap"):
    """One heatmap per keypoint; ``dark`` is Zhang et al. 2020, ``quarter`` the shift of Newell 2016."""

    output: str | None = None
    subpixel: Literal["none", "quarter", "dark"] = "dark"


class SimccCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="simcc"):
    """Two one-dimensional distributions per keypoint (Li et al. 2022)."""

    outputs: tuple[str, str] | None = None
    split_ratio: Annotated[float, msgspec.Meta(gt=0, le=64)] = 2.0


class MovenetCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="movenet"):
    """(1, 1, K, 3): y, x, score, normalized to the input."""

    output: str | None = None


class YoloPoseCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="yolo_pose"):
    """(1, 5 + 3K, N) or transposed: cx, cy, w, h, score, then x, y, score per keypoint."""

    output: str | None = None
    score_threshold: Fraction = 0.25
    nms_iou: Fraction = 0.65
    max_detections: Positive = 20


class BlazePoseCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="blazepose"):
    """(1, 195): x, y, z, visibility, presence of 39 landmarks in input pixels."""

    output: str | None = None
    score_output: str | None = None


class PosenetCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="posenet"):
    """Coarse heatmaps with short offsets (Papandreou et al. 2018), single person."""

    heatmaps: str | None = None
    offsets: str | None = None


class YoloxCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="yolox"):
    """Person detector: (1, N, 5 + classes) over strides 8, 16, 32, undecoded."""

    output: str | None = None
    class_ids: Annotated[tuple[ClassId, ...], msgspec.Meta(min_length=1)] = (0,)
    score_threshold: Fraction = 0.25
    nms_iou: Fraction = 0.65
    max_detections: Positive = 20


class CenterCodecSpec(Record, frozen=True, kw_only=True, tag_field="kind", tag="center"):
    """Person detector: (1, h, w, 5), where centres are and what the box is like there."""

    output: str | None = None
    score_threshold: Fraction = 0.25
    nms_iou: Fraction = 0.65
    max_detections: Positive = 20


class BlazePoseDetectorCodecSpec(
    Record, frozen=True, kw_only=True, tag_field="kind", tag="blazepose_detector"
):
    """BlazePose's own detector, for BlazePose's landmark model alone: (1, N, 12) and (1, N, 1)."""

    score_threshold: Fraction = 0.5
    nms_iou: Fraction = 0.3


DetectorCodecSpec = YoloxCodecSpec | CenterCodecSpec | BlazePoseDetectorCodecSpec

CodecSpec = (
    HeatmapCodecSpec
    | SimccCodecSpec
    | MovenetCodecSpec
    | YoloPoseCodecSpec
    | BlazePoseCodecSpec
    | PosenetCodecSpec
    | YoloxCodecSpec
    | CenterCodecSpec
    | BlazePoseDetectorCodecSpec
)


class ModelSpec(Record, frozen=True, kw_only=True):
    """The whole spec of a model.

    Attributes:
        name: Model name.
        version: Model version.
        paradigm: ``top_down`` (one crop per person), ``one_stage`` (all persons at once),
            ``single_person`` or ``detector`` (boxes only).
        licence: SPDX identifier where there is one.
        source: Where the model comes from.
        input: The input tensor.
        codec: How outputs become keypoints.
        skeleton: Built-in name or inline table; a detector needs none.
        min_pose_score: A pose below this mean keypoint score is not reported.
    """

    name: str
    version: str
    paradigm: Literal["top_down", "one_stage", "single_person", "detector"]
    licence: str
    source: str
    input: InputSpec
    codec: CodecSpec
    skeleton: str | SkeletonRecord | None = None
    min_pose_score: Fraction = 0.2

    def __post_init__(self) -> None:
        if (self.paradigm == "detector") != isinstance(self.codec, DetectorCodecSpec):
            raise ValueError(
                "paradigm 'detector' and codec kind 'yolox', 'center' or 'blazepose_detector' belong together"
            )
        if (self.paradigm == "one_stage") != isinstance(self.codec, YoloPoseCodecSpec):
            raise ValueError("paradigm 'one_stage' and codec kind 'yolo_pose' belong together")
        if self.paradigm == "top_down" and self.input.resize != "crop":
            raise ValueError("paradigm 'top_down' needs input.resize = 'crop'")
        if self.paradigm in {"one_stage", "detector"} and self.input.resize == "crop":
            raise ValueError(f"paradigm '{self.paradigm}' sees the whole image: use letterbox or stretch")
        if self.paradigm != "detector":
            if self.skeleton is None:
                raise ValueError("skeleton is missing; a built-in name such as 'coco17' or a table")
            try:
                _ = self.pose_skeleton
            except ConfigError as problem:
                raise ValueError(problem.message) from problem

    @property
    def pose_skeleton(self) -> Skeleton:
        """The skeleton; COCO-17 stands in for a detector, which has none."""
        if self.skeleton is None:
            return COCO17
        if isinstance(self.skeleton, str):
            return skeleton_named(self.skeleton)
        record = self.skeleton
        return Skeleton(
            record.name, record.keypoint_names, record.edges, record.flip_pairs, record.oks_sigmas
        )

    @property
    def uses_person_boxes(self) -> bool:
        """Whether the model sees a crop around one person rather than the whole image."""
        return self.input.resize == "crop"


def read_spec(path: Path) -> ModelSpec:
    """Reads a spec from TOML.

    Raises:
        ConfigError: The file cannot be read, or a field is missing, unknown or wrong.
    """
    return read_toml(path, ModelSpec)


def spec_from_json(text: str, where: str) -> ModelSpec:
    """Reads the spec that is embedded in a model file.

    Raises:
        ModelError: The embedded text is not a spec.
    """
    return from_json(text, ModelSpec, f"The spec inside {where}", ModelError)


def spec_to_json(spec: ModelSpec) -> str:
    """The text that a model file carries."""
    return to_json(spec)


# A detector is recognized by its digest, so that `--detector yolox_nano.onnx` needs no spec. A pose
# model is not: its spec decides what its accuracy means, so it is always given or inside the file. Only
# BlazePose's is, whose detector leaves it one way to run.
_DETECTOR_DIGESTS = {
    "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd": "yolox_nano",
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c": "blazepose_detector",
}
_POSE_DIGESTS = {
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f": "blazepose_full",
}


def shipped_spec_paths() -> dict[str, Path]:
    """Name to file of every ready spec, sorted."""
    return {path.stem: path for path in sorted(packaged_folder("model_specs").glob("*.toml"))}


def find_spec(name_or_path: Path) -> ModelSpec:
    """Reads a spec by path, or a ready one by name.

    Raises:
        ConfigError: There is neither, or the file is wrong.
    """
    shipped = shipped_spec_paths()
    if str(name_or_path) in shipped and not name_or_path.is_file():
        return read_spec(shipped[str(name_or_path)])
    if name_or_path.exists() or name_or_path.suffix:
        return read_spec(name_or_path)
    raise ConfigError(
        f"Spec '{name_or_path}' is neither a file nor a ready spec; ready are {', '.join(shipped)}."
    )


def known_spec_for(sha256: str) -> ModelSpec | None:
    """The ready spec of a file that is known by its digest, or None."""
    name = _DETECTOR_DIGESTS.get(sha256) or _POSE_DIGESTS.get(sha256)
    return read_spec(shipped_spec_paths()[name]) if name else None
