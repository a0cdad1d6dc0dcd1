"""Two generated models with BlazePose's outputs: somebody in a bright picture, nobody in a dark one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.pose.codecs.blazepose import anchor_centres
from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec, find_spec, spec_to_json

INPUT_PX = 64
# Where the landmark model sees the middle of the hips and the top of the circle, in pixels of its input.
HIPS_INPUT_PX, TOP_INPUT_PX = (34.0, 33.0), (35.0, 6.0)
# And the 33 keypoints of the body.
BODY_INPUT_PX = np.random.default_rng(5).uniform(12, 52, (33, 2))
# A logit or score goes so far up from black to white.
_RISE = 60.0

Values = NDArray[Any]


def write_landmark_model(path: Path) -> Path:
    """A landmark model: always the same points; the person score rises with the brightness."""
    rows = np.zeros((39, 5), np.float32)
    rows[:33, :2] = BODY_INPUT_PX
    rows[33, :2], rows[34, :2] = HIPS_INPUT_PX, TOP_INPUT_PX
    rows[:, 3] = 2.0
    outputs = {
        "points": (rows.reshape(1, 195), 0.0),
        "person": (np.zeros((1, 1), np.float32), 1.0),
        "mask": (np.zeros((1, 8, 8, 1), np.float32), 1.0),
        "heatmap": (np.full((1, 16, 16, 39), -9, np.float32), 0.0),
    }
    return _write(path, outputs, _small(find_spec(Path("blazepose_full"))))


def write_detector(path: Path) -> Path:
    """A detector: one anchor in the middle, whose logit rises with the brightness, sees a person."""
    centres = anchor_centres(INPUT_PX)
    middle = int(np.argmin(np.abs(centres - 0.5).sum(axis=1)))
    rows = np.zeros((1, len(centres), 12), np.float32)
    rows[0, middle, :8] = [0, 0, 20, 20, 2, 1, 2, -20]
    slopes = np.zeros((1, len(centres), 1), np.float32)
    slopes[0, middle] = _RISE
    # -1 is black there and 1 is white.
    outputs = {"boxes": (rows, 0.0), "scores": (np.full(slopes.shape, -1, np.float32), slopes)}
    return _write(path, outputs, _small(find_spec(Path("blazepose_detector"))))


def _small(spec: ModelSpec) -> ModelSpec:
    size = msgspec.structs.replace(spec.input, width_px=INPUT_PX, height_px=INPUT_PX)
    return msgspec.structs.replace(spec, input=size)


def _write(path: Path, outputs: dict[str, tuple[Values, Any]], spec: ModelSpec) -> Path:
    """Each output = values + slopes * mean of the input."""
    nodes, constants = [helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0)], []
    for name, (values, slopes) in outputs.items():
        constants += [
            numpy_helper.from_array(values, f"{name}_values"),
            numpy_helper.from_array(np.asarray(slopes, np.float32), f"{name}_slopes"),
        ]
        nodes += [
            helper.make_node("Mul", ["mean", f"{name}_slopes"], [f"{name}_change"]),
            helper.make_node("Add", [f"{name}_values", f"{name}_change"], [name]),
        ]
    picture = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, INPUT_PX, INPUT_PX, 3])
    results = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, values.shape)
        for name, (values, _) in outputs.items()
    ]
    graph = helper.make_graph(nodes, "blazepose", [picture], results, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=9)
    entry = model.metadata_props.add()
    entry.key, entry.value = SPEC_METADATA_KEY, spec_to_json(spec)
    onnx.save(model, path)
    return path
