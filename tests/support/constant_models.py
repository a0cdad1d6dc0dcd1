"""Real ONNX files that always answer the same: what they say about a picture is known in advance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.pose.skeletons import COCO17
from edgepose.records.model_spec import (
    SPEC_METADATA_KEY,
    HeatmapCodecSpec,
    InputSpec,
    ModelSpec,
    SkeletonRecord,
    YoloPoseCodecSpec,
    spec_to_json,
)

INPUT_WH = (64, 64)
Rows = NDArray[np.float64]


def write_one_stage(path: Path, persons_px: list[Rows], scores: list[float]) -> Path:
    """A one-stage model that sees these persons in every picture of ``INPUT_WH``.

    Args:
        path: Where to write.
        persons_px: (17, 2) or (17, 3) each, in pixels of the picture; a third column is the score.
        scores: One per person.
    """
    rows = []
    for points, score in zip(persons_px, scores, strict=True):
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        marks = points[:, 2:] if points.shape[1] == 3 else np.full((len(points), 1), 0.9)
        rows.append(
            np.concatenate([(low + high) / 2, high - low, [score], np.hstack([points[:, :2], marks]).ravel()])
        )
    values = np.asarray(rows, np.float32).reshape(1, len(rows), 5 + 3 * 17)
    spec = ModelSpec(
        name="always_the_same",
        version="1",
        paradigm="one_stage",
        licence="Apache-2.0",
        source="tests",
        input=_input("letterbox"),
        codec=YoloPoseCodecSpec(),
        skeleton="coco17",
    )
    return _write(path, values, spec)


def write_top_down(
    path: Path,
    peaks: NDArray[np.int64],
    heights: NDArray[np.float64] | None = None,
    names: tuple[str, ...] = COCO17.keypoint_names,
) -> Path:
    """A model of crops whose heatmaps (16 x 16) always peak at the same cells.

    Args:
        path: Where to write.
        peaks: (K, 2), x then y, in cells of 4 input pixels.
        heights: (K,), the scores; 0.9 by default.
        names: The K keypoints.
    """
    heatmaps = np.zeros((1, len(names), 16, 16), np.float32)
    heights = np.full(len(names), 0.9) if heights is None else heights
    for keypoint, ((x, y), height) in enumerate(zip(peaks, heights, strict=True)):
        heatmaps[0, keypoint, y, x] = height
    skeleton = SkeletonRecord(
        keypoint_names=names, edges=(), flip_pairs=(), oks_sigmas=COCO17.oks_sigmas[: len(names)]
    )
    spec = ModelSpec(
        name="always_the_same",
        version="1",
        paradigm="top_down",
        licence="Apache-2.0",
        source="tests",
        input=_input("crop"),
        codec=HeatmapCodecSpec(subpixel="none"),
        skeleton="coco17" if names == COCO17.keypoint_names else skeleton,
    )
    return _write(path, heatmaps, spec)


def _input(resize: str) -> InputSpec:
    width, height = INPUT_WH
    return InputSpec(width_px=width, height_px=height, layout="NCHW", color_order="RGB", resize=resize)  # type: ignore[arg-type]


def _write(path: Path, values: NDArray[np.float32], spec: ModelSpec) -> Path:
    """Output = values + 0 * mean(input), so that the input is really used."""
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["values", "nothing"], ["output"]),
    ]
    constants = [
        numpy_helper.from_array(values, "values"),
        numpy_helper.from_array(np.zeros((), np.float32), "zero"),
    ]
    shape = [1, 3, *INPUT_WH[::-1]]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, values.shape)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = SPEC_METADATA_KEY, spec_to_json(spec)
    onnx.save(model, path)
    return path
