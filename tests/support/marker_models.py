"""Models that find marker figures by construction: fixed weights, no training.

Colour k at a pixel is answered by ``relu(1 - |rgb - colour_k|_1 / REACH)``: a 1x1 convolution makes both
signs of every difference, ReLU the absolute values, a second 1x1 convolution sums them. Two depthwise
convolutions of stride 2 smooth the answer. Their odd kernels are centred, so cell j of the heatmap stands
for input pixel 4 j, with no half pixel, as in TinyPose.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgepose.records.model_spec import SPEC_METADATA_KEY, ModelSpec, spec_to_json
from edgepose.records.record import from_builtins, parse_toml
from tests.support.marker_scene import BOX_MARGIN, MARKER_RGB

Array = NDArray[np.float32]

CROP_WH, WHOLE_WH = (96, 128), (160, 128)
SPLIT_RATIO = 2.0
MEAN = np.array([123.675, 116.28, 103.53])
STD = np.array([58.395, 57.12, 57.375])
KEYPOINTS = 17
_REACH = 110.0  # on 0..255, summed over the channels; colours are at least 128 apart
_PEAK_GAIN = 4.0  # makes a disc of a usual size peak near 1
_OPSET = 17
# One-stage models look through windows of this half width around each column, in heatmap cells.
_WINDOW_CELLS = 10.0

_HEAD = """
version = "1"
licence = "Apache-2.0"
source = "constructed in the tests"
"""
_INPUT = """
color_order = "RGB"
mean = [123.675, 116.28, 103.53]
std = [58.395, 57.12, 57.375]
"""
_CROP = 'width_px = 96\nheight_px = 128\nresize = "crop"\nbox_scale = 1.25\n'
_WHOLE = (
    'width_px = 160\nheight_px = 128\nlayout = "NCHW"\n'
    'resize = "letterbox"\nanchor = "top_left"\npad_value = 114\n'
)
_POSE = 'skeleton = "coco17"\nparadigm = '
_SPECS: Mapping[str, tuple[str, str, str]] = {
    "heatmap": (_POSE + '"top_down"', _CROP + 'layout = "NCHW"', 'kind = "heatmap"\nsubpixel = "dark"'),
    "heatmap_nhwc": (_POSE + '"top_down"', _CROP + 'layout = "NHWC"', 'kind = "heatmap"\nsubpixel = "dark"'),
    "simcc": (
        _POSE + '"top_down"',
        _CROP + 'layout = "NCHW"',
        'kind = "simcc"\noutputs = ["simcc_x", "simcc_y"]\nsplit_ratio = 2.0',
    ),
    "yolo_pose": (_POSE + '"one_stage"', _WHOLE, 'kind = "yolo_pose"\nscore_threshold = 0.6'),
    "detector": ('paradigm = "detector"', _WHOLE, 'kind = "yolox"\nscore_threshold = 0.6'),
}


def marker_spec_toml(kind: str) -> str:
    """The spec of a marker model: heatmap, heatmap_nhwc (Keras), simcc, yolo_pose or detector."""
    head, model_input, codec = _SPECS[kind]
    name = f'name = "marker_{kind}"'
    return f"{name}{_HEAD}{head}\n\n[input]\n{model_input}{_INPUT}\n[codec]\n{codec}\n"


def marker_model_spec(kind: str) -> ModelSpec:
    """The same as a record."""
    return from_builtins(parse_toml(marker_spec_toml(kind), kind), ModelSpec, kind)


def build_marker_heatmap_onnx(
    path: Path, input_wh: tuple[int, int] = CROP_WH, *, with_spec: bool = False
) -> Path:
    """(1, 3, H, W) -> ``heatmaps`` (1, 17, H / 4, W / 4); ``with_spec`` writes the spec into the file."""
    graph = _Graph(input_wh)
    graph.heatmaps("heatmaps")
    width, height = input_wh
    graph.output("heatmaps", (1, KEYPOINTS, height // 4, width // 4))
    return graph.save(path, marker_model_spec("heatmap") if with_spec else None)


def build_marker_simcc_onnx(path: Path) -> Path:
    """``simcc_x`` (1, 17, 2 W) and ``simcc_y`` (1, 17, 2 H): the heatmap's maxima, resampled."""
    graph = _Graph(CROP_WH)
    graph.heatmaps("heatmaps")
    for name, cells, axis in (("simcc_x", CROP_WH[0] // 4, 2), ("simcc_y", CROP_WH[1] // 4, 3)):
        graph.add("ReduceMax", ["heatmaps"], f"{name}_maxima", axes=[axis], keepdims=0)
        bins = int(cells * 4 * SPLIT_RATIO)
        graph.add("MatMul", [f"{name}_maxima", graph.constant(_resampling(cells, bins))], name)
        graph.output(name, (1, KEYPOINTS, bins))
    return graph.save(path)


def build_marker_yolo_pose_onnx(path: Path) -> Path:
    """(1, 56, 40): one candidate per heatmap column; finds figures that stand side by side."""
    graph = _Graph(WHOLE_WH)
    columns = WHOLE_WH[0] // 4
    graph.candidates(np.arange(columns, dtype=np.float32))
    for name in ("x", "y", "keypoint_score"):
        graph.add("Unsqueeze", [name, graph.constant(np.array([2]))], f"{name}_1")
    graph.add("Concat", ["x_1", "y_1", "keypoint_score_1"], "triples", axis=2)
    shape = graph.constant(np.array([1, 3 * KEYPOINTS, columns]))
    graph.add("Reshape", ["triples", shape], "keypoints")
    graph.add("Concat", ["cx", "cy", "w", "h", "score", "keypoints"], "poses", axis=1)
    graph.output("poses", (1, 5 + 3 * KEYPOINTS, columns))
    return graph.save(path)


def build_marker_detector_onnx(path: Path) -> Path:
    """(1, 420, 6), YOLOX rows; only one row of the stride 8 grid ever answers."""
    graph = _Graph(WHOLE_WH)
    width, height = WHOLE_WH
    columns, row = width // 8, height // 16
    graph.candidates(2 * np.arange(columns, dtype=np.float32))
    cells = np.arange(columns, dtype=np.float32).reshape(1, 1, -1)
    eighth = graph.constant(np.float32(1 / 8))
    for name, cell in (("cx", cells), ("cy", np.float32(row))):
        graph.add("Mul", [name, eighth], f"{name}_cells")
        graph.add("Sub", [f"{name}_cells", graph.constant(cell)], f"d{name}")
    for name in ("w", "h"):
        graph.add("Mul", [name, eighth], f"{name}_cells")
        graph.add("Log", [f"{name}_cells"], f"log_{name}")
    sure = graph.constant(np.ones((1, 1, columns), np.float32))
    graph.add("Concat", ["dcx", "dcy", "log_w", "log_h", "score", sure], "found", axis=1)
    graph.add("Transpose", ["found"], "found_rows", perm=[0, 2, 1])
    total = sum((width // stride) * (height // stride) for stride in (8, 16, 32))
    before = np.zeros((1, row * columns, 6), np.float32)
    after = np.zeros((1, total - (row + 1) * columns, 6), np.float32)
    graph.add("Concat", [graph.constant(before), "found_rows", graph.constant(after)], "rows", axis=1)
    graph.output("rows", (1, total, 6))
    return graph.save(path)


def build_marker_heatmap_keras(path: Path, input_wh: tuple[int, int] = CROP_WH) -> Path:
    """The heatmap model in Keras 3 (.keras), NHWC, static batch 1."""
    import keras

    weights = _trunk_weights()
    inputs = keras.Input(batch_shape=(1, input_wh[1], input_wh[0], 3), name="image")
    values = keras.layers.Conv2D(2 * 3 * KEYPOINTS, 1, activation="relu", name="differences")(inputs)
    values = keras.layers.Conv2D(KEYPOINTS, 1, activation="relu", name="likeness")(values)
    for name, pad in (("smooth_a", 2), ("smooth_b", 3)):
        values = keras.layers.ZeroPadding2D(pad, name=f"{name}_pad")(values)
        values = keras.layers.DepthwiseConv2D(2 * pad + 1, strides=2, name=name)(values)
    model = keras.Model(inputs, values, name="marker_heatmap")
    for name, (kernel, bias) in weights.items():
        # ONNX (out, in, h, w); Keras (h, w, in, out), depthwise (h, w, channel, 1): both end as below.
        model.get_layer(name).set_weights(
            [kernel.transpose(2, 3, 1, 0) if kernel.shape[2] == 1 else kernel.transpose(2, 3, 0, 1), bias]
        )
    model.save(path)
    return path


def shuffle_weights(onnx_path: Path, out: Path, seed: int = 0) -> Path:
    """Negative control: the values of every weight in another order; shapes and statistics stay."""
    rng = np.random.default_rng(seed)
    return _change_weights(onnx_path, out, lambda w: rng.permutation(w.ravel()).reshape(w.shape))


def nan_weights(onnx_path: Path, out: Path) -> Path:
    """Negative control: every weight is NaN."""
    return _change_weights(onnx_path, out, lambda w: np.full_like(w, np.nan))


def truncate(path: Path, out: Path, share: float = 0.5) -> Path:
    """Negative control: the first part of a file, as after a broken download."""
    data = path.read_bytes()
    out.write_bytes(data[: int(share * len(data))])
    return out


def _change_weights(onnx_path: Path, out: Path, change: Any) -> Path:
    model = onnx.load(onnx_path)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype == np.float32:
            tensor.CopyFrom(numpy_helper.from_array(change(values), tensor.name))
    onnx.save(model, out)
    return out


def _trunk_weights() -> dict[str, tuple[Array, Array]]:
    """Kernel (out, in, h, w) and bias (out,) of the four convolutions."""
    differences = np.zeros((KEYPOINTS, 3, 2, 3))
    offsets = np.zeros((KEYPOINTS, 3, 2))
    for channel in range(3):
        for position, sign in enumerate((1, -1)):
            differences[:, channel, position, channel] = sign * STD[channel] / _REACH
            offsets[:, channel, position] = sign * (MEAN[channel] - MARKER_RGB[:, channel]) / _REACH
    likeness = -np.repeat(np.eye(KEYPOINTS), 6, axis=1)
    raw = {
        "differences": (differences.reshape(-1, 3, 1, 1), offsets.ravel()),
        "likeness": (likeness[:, :, None, None], np.ones(KEYPOINTS)),
        "smooth_a": (_gaussian(5, 1.0), np.zeros(KEYPOINTS)),
        "smooth_b": (_PEAK_GAIN * _gaussian(7, 1.5), np.zeros(KEYPOINTS)),
    }
    return {name: (k.astype(np.float32), b.astype(np.float32)) for name, (k, b) in raw.items()}


def _gaussian(size: int, sigma: float) -> NDArray[np.float64]:
    """(17, 1, size, size), sum 1."""
    line = np.exp(-np.square(np.arange(size) - size // 2) / (2 * sigma**2))
    kernel = np.outer(line, line)
    return np.broadcast_to(kernel / kernel.sum(), (KEYPOINTS, 1, size, size))


def _resampling(cells: int, bins: int) -> Array:
    """(cells, bins): Lanczos weights; bin b lies at cell b * cells / bins."""
    distance = np.arange(bins)[None] * (cells / bins) - np.arange(cells)[:, None]
    return np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0).astype(np.float32)


class _Graph:
    """Collects the nodes of one ONNX graph."""

    def __init__(self, input_wh: tuple[int, int]) -> None:
        self._input_wh = input_wh
        self._nodes: list[Any] = []
        self._weights: list[Any] = []
        self._outputs: list[Any] = []

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))

    def constant(self, values: Any, name: str | None = None) -> str:
        name = name or f"constant_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def output(self, name: str, shape: tuple[int, ...]) -> None:
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def heatmaps(self, output: str) -> None:
        weights = _trunk_weights()
        source = "image"
        for name, (kernel, bias) in weights.items():
            inputs = [source, self.constant(kernel, f"{name}_w"), self.constant(bias, f"{name}_b")]
            if kernel.shape[2] == 1:
                self.add("Conv", inputs, name, kernel_shape=[1, 1])
                self.add("Relu", [name], f"{name}_relu")
                source = f"{name}_relu"
            else:
                size = kernel.shape[2]
                result = output if name == "smooth_b" else name
                self.add(
                    "Conv", inputs, result,
                    group=KEYPOINTS, kernel_shape=[size, size], strides=[2, 2], pads=[size // 2] * 4,
                )  # fmt: skip
                source = result

    def candidates(self, centre_cells: Array) -> None:
        """One candidate per window centre: x, y, keypoint_score (1, 17, C), box and score (1, 1, C).

        A keypoint is the centre of mass of its heatmap inside the window. It counts as found when there
        is mass, and when the mass is in one place: a window that sees two figures scores low.
        """
        columns, rows = self._input_wh[0] // 4, self._input_wh[1] // 4
        self.heatmaps("heatmaps")
        self.add("Sub", ["heatmaps", self.constant(np.float32(0.12))], "above")
        self.add("Relu", ["above"], "mass")
        self.add("ReduceSum", ["mass", self.constant(np.array([2]))], "mass_x", keepdims=0)
        height = self.constant(np.arange(rows, dtype=np.float32).reshape(1, 1, -1, 1))
        self.add("Mul", ["mass", height], "mass_times_y")
        self.add("ReduceSum", ["mass_times_y", self.constant(np.array([2]))], "moment_y", keepdims=0)
        place = np.arange(columns, dtype=np.float32)
        window = (np.abs(place[:, None] - centre_cells) <= _WINDOW_CELLS).astype(np.float32)
        self.add("MatMul", ["mass_x", self.constant(window)], "seen")
        self.add("Add", ["seen", self.constant(np.float32(1e-3))], "divisor")
        sums = {"x": place[:, None] * window, "x2": place[:, None] ** 2 * window, "y": window}
        for name, matrix in sums.items():
            source = "moment_y" if name == "y" else "mass_x"
            self.add("MatMul", [source, self.constant(matrix)], f"sum_{name}")
            self.add("Div", [f"sum_{name}", "divisor"], f"cell_{name}")
        for name in ("x", "y"):
            self.add("Mul", [f"cell_{name}", self.constant(np.float32(4))], name)
        self._candidate_scores()
        self._candidate_boxes()

    def _candidate_scores(self) -> None:
        self.add("Mul", ["cell_x", "cell_x"], "x_squared")
        self.add("Sub", ["cell_x2", "x_squared"], "variance")
        # 1 up to a variance of 4 cells, 0 from 14 on.
        self.add("Mul", ["variance", self.constant(np.float32(-0.1))], "falling")
        self.add("Add", ["falling", self.constant(np.float32(1.4))], "in_one_place")
        bounds = [self.constant(np.float32(0)), self.constant(np.float32(1))]
        self.add("Clip", ["in_one_place", *bounds], "single")
        self.add("Mul", ["seen", self.constant(np.float32(2))], "seen_2")
        self.add("Clip", ["seen_2", *bounds], "present")
        self.add("Mul", ["single", "present"], "keypoint_score")
        # Only a window that sees (nearly) all of one figure counts: 1 - 8 * (1 - mean), at least 0.
        self.add("ReduceMean", ["keypoint_score"], "mean_score", axes=[1], keepdims=1)
        self.add("Mul", ["mean_score", self.constant(np.float32(8))], "steep")
        self.add("Add", ["steep", self.constant(np.float32(-7))], "steep_score")
        self.add("Relu", ["steep_score"], "score")

    def _candidate_boxes(self) -> None:
        for name in ("x", "y"):
            self.add("ReduceMin", [name], f"{name}_low", axes=[1], keepdims=1)
            self.add("ReduceMax", [name], f"{name}_high", axes=[1], keepdims=1)
            self.add("Add", [f"{name}_low", f"{name}_high"], f"{name}_both")
            self.add("Mul", [f"{name}_both", self.constant(np.float32(0.5))], f"c{name}")
            self.add("Sub", [f"{name}_high", f"{name}_low"], f"{name}_extent")
        self.add("Mul", ["y_extent", self.constant(np.float32(2 * BOX_MARGIN))], "margin")
        for name, axis in (("w", "x"), ("h", "y")):
            self.add("Add", [f"{axis}_extent", "margin"], f"{name}_raw")
            self.add("Max", [f"{name}_raw", self.constant(np.float32(1))], name)

    def save(self, path: Path, spec: ModelSpec | None = None) -> Path:
        width, height = self._input_wh
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, height, width))
        graph = helper.make_graph(self._nodes, "marker", [image], self._outputs, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=8)
        if spec is not None:
            helper.set_model_props(model, {SPEC_METADATA_KEY: spec_to_json(spec)})
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path
