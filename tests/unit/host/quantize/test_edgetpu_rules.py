"""The Edge TPU's published rules: one op each that is taken, and one that is refused with its reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.host.models.tflite_view import read_tflite
from edgepose.host.quantize.delegates.edgetpu import edgetpu_verdicts
from edgepose.host.quantize.delegates.edgetpu_rules import edgetpu_reason
from edgepose.host.quantize.delegates.op_view import GraphView, OpView, TensorView, count_on_cpu, view_graph


def tensor(*shape: int, index: int = 0, dtype: str = "INT8", **more: Any) -> TensorView:
    return TensorView(index, f"t{index}", shape, dtype, **more)


def stored(values: Any, dtype: str = "INT32", index: int = 90) -> TensorView:
    array = np.asarray(values)
    return tensor(*array.shape, index=index, dtype=dtype, constant=True, values=array)


PICTURE = tensor(1, 8, 8, 16)
RESULT = tensor(1, 8, 8, 16, index=1)


def op(
    name: str, *inputs: TensorView | None, out: TensorView = RESULT, version: int = 1, **options: Any
) -> OpView:
    return OpView(name, inputs or (PICTURE,), (out,), options, version)


WEIGHTS = stored(np.zeros((16, 3, 3, 16), np.int8), "INT8", 80)
BIAS = stored(np.zeros(16), index=81)
TAKEN = [
    op("CONV_2D", PICTURE, WEIGHTS, BIAS, dilationWFactor=2, dilationHFactor=2),
    op("CONV_2D", PICTURE, WEIGHTS, None),
    op("ADD", PICTURE, PICTURE),
    op("MUL", PICTURE, stored(np.int8(3), "INT8"), fusedActivationFunction=1),
    op("LOGISTIC"),
    op("QUANTIZE", tensor(1, 8, 8, 16, dtype="UINT8")),
    op("MEAN", PICTURE, stored([1, 2]), out=tensor(1, 1, 1, 16, index=1)),
    op("MEAN", PICTURE, stored([-1]), out=tensor(1, 8, 8, 1, index=1)),
    op("PAD", PICTURE, stored([[0, 0], [1, 1], [1, 1], [0, 0]])),
    op("SOFTMAX", tensor(1, 16_000), out=tensor(1, 16_000, index=1)),
    op("FULLY_CONNECTED", tensor(1, 32), stored(np.zeros((8, 32)), "INT8"), BIAS, out=tensor(1, 8, index=1)),
    op("STRIDED_SLICE", PICTURE, stored([0] * 4), stored([1, 4, 4, 16]), stored([1] * 4)),
    op("CONCATENATION", PICTURE, PICTURE, axis=3),
    op("CONCATENATION", PICTURE, replace(stored(np.full((1, 8, 8, 4), 7), "INT8"), zero_points=(7,)), axis=3),
    op("TRANSPOSE_CONV", stored([1, 8, 8, 16]), WEIGHTS, PICTURE, BIAS, version=3),
    op("RESIZE_BILINEAR", PICTURE, stored([8, 8]), halfPixelCenters=True),
    op("PRELU", PICTURE, stored(np.zeros((1, 1, 16)), "INT8")),
    op("PACK", tensor(8, 8), tensor(8, 8), out=tensor(8, 8, 2, index=1), axis=2),
]  # fmt: skip
REFUSED = [
    (op("HARD_SWISH"), "no such operation"),
    (op("ARG_MAX", PICTURE, stored([1])), "no such operation"),
    (op("LOGISTIC", tensor(1, 8, 8, 16, dtype="FLOAT32")), "is FLOAT32, expected INT8"),
    (op("ADD", tensor(1, 8, 8, 16, dtype="INT16"), PICTURE), "is INT16, expected INT8"),
    (op("QUANTIZE", tensor(1, 8, 8, 16, dtype="FLOAT32")), "is FLOAT32"),
    (op("LOGISTIC", tensor(1, 8, 8, 16, open_size=True)), "open size"),
    (op("LOGISTIC", tensor(2, 8, 8, 16)), "innermost"),
    (op("TRANSPOSE", tensor(1, 8, 2, 8, 4, index=5), stored([0, 1, 2, 4, 3])), "innermost"),
    (op("CONV_2D", PICTURE, tensor(16, 3, 3, 16, index=7), BIAS), "is computed, expected a constant"),
    (op("CONV_2D", PICTURE, WEIGHTS, replace(BIAS, dtype="INT64")), "INT64, expected INT32"),
    (op("CONV_2D", PICTURE, replace(WEIGHTS, dtype="FLOAT32"), BIAS), "are FLOAT32"),
    (op("CONV_2D", PICTURE, WEIGHTS, BIAS, dilationWFactor=2, dilationHFactor=1), "2 in x and 1 in y"),
    (op("CONV_2D", tensor(1, 8, 8, 32), WEIGHTS, BIAS), "grouped convolution"),
    (op("MAX_POOL_2D", PICTURE, fusedActivationFunction=1), "fused activation"),
    (op("CONCATENATION", PICTURE, PICTURE, fusedActivationFunction=1), "fused activation"),
    (op("CONCATENATION", PICTURE, stored(np.ones((1, 8, 8, 4)), "INT8")), "only as zero padding"),
    (op("CONCATENATION", PICTURE, PICTURE, stored(np.zeros((1, 8, 8, 4)), "INT8")), "only as zero padding"),
    (op("MEAN", PICTURE, stored([0, 1])), "reduces the batch"),
    (op("MEAN", tensor(1, 8, 8, 17), stored([3])), "averages 17 channels"),
    (op("SUM", PICTURE, stored([-4])), "reduces the batch"),
    (op("PAD", PICTURE, stored([[1, 0], [0, 0], [0, 0], [0, 0]])), "pads the batch"),
    (op("SPLIT", stored([0]), PICTURE), "splits the batch"),
    (op("PACK", PICTURE, PICTURE, axis=0), "packs the batch"),
    (op("SOFTMAX", tensor(1, 16_001), out=tensor(1, 16_001, index=1)), "16001 elements"),
    (op("SOFTMAX", PICTURE), "expected one dimension"),
    (op("FULLY_CONNECTED", PICTURE, WEIGHTS, BIAS, out=tensor(4, 8, index=1)), "expected one dimension"),
    (op("FULLY_CONNECTED", PICTURE, WEIGHTS, BIAS, out=tensor(1, 8), weightsFormat=1), "shuffled"),
    (op("STRIDED_SLICE", PICTURE, *[stored([0] * 4)] * 2, stored([1, 2, 1, 1])), "strides are [1, 2"),
    (op("STRIDED_SLICE", PICTURE, *[stored([1] * 4)] * 3, newAxisMask=1), "newAxisMask"),
    (op("PRELU", PICTURE, stored(np.zeros((8, 8, 16)), "INT8")), "one for each channel"),
    (op("TRANSPOSE_CONV", stored([1, 8, 8, 16]), WEIGHTS, PICTURE, BIAS, version=4), "version 4"),
]  # fmt: skip


@pytest.mark.parametrize("taken", TAKEN, ids=lambda o: o.name)
def test_an_op_within_the_published_limits_is_taken(taken: OpView) -> None:
    assert edgetpu_reason(taken) is None


@pytest.mark.parametrize(("refused", "reason"), REFUSED, ids=[f"{o.name}: {r}" for o, r in REFUSED])
def test_an_op_beyond_the_published_limits_is_refused_with_its_reason(refused: OpView, reason: str) -> None:
    assert reason in (edgetpu_reason(refused) or "")


def chain(*names: str) -> GraphView:
    """Ops that follow each other on one tensor."""
    shape = (1, 8, 8, 16)
    return GraphView(
        tuple(
            OpView(n, (tensor(*shape, index=i),), (tensor(*shape, index=i + 1),)) for i, n in enumerate(names)
        )
    )


def test_everything_behind_the_first_refused_op_goes_to_the_cpu() -> None:
    verdicts = edgetpu_verdicts(chain("LOGISTIC", "ELU", "TANH", "RELU"))
    assert [v.taken for v in verdicts] == [True, False, False, False]
    assert [v.behind_refused for v in verdicts] == [False, False, True, True]
    assert count_on_cpu(verdicts) == 3
    assert count_on_cpu(edgetpu_verdicts(chain("LOGISTIC", "RELU", "TANH"))) == 0


def test_a_branch_beside_the_refused_op_stays_on_the_edge_tpu() -> None:
    start, left, right = (tensor(1, 8, 8, 16, index=i) for i in range(3))
    joined = tensor(1, 8, 8, 16, index=3)
    ops = (
        OpView("ELU", (start,), (left,)),
        OpView("TANH", (start,), (right,)),
        OpView("ADD", (left, right), (joined,)),
    )
    assert [v.taken for v in edgetpu_verdicts(GraphView(ops))] == [False, True, False]


def test_a_conversion_of_the_input_runs_on_the_cpu_and_ends_nothing() -> None:
    real, whole = tensor(1, 8, 8, 16, dtype="FLOAT32"), tensor(1, 8, 8, 16, index=1)
    ops = (OpView("QUANTIZE", (real,), (whole,)), OpView("TANH", (whole,), (tensor(1, 8, 8, 16, index=2),)))
    assert [v.taken for v in edgetpu_verdicts(GraphView(ops))] == [False, True]
    # The same conversion in the middle comes too late: the part has ended.
    assert count_on_cpu(edgetpu_verdicts(chain("TANH", "CAST", "TANH"))) == 2


@pytest.mark.shared_data
def test_the_rules_leave_to_the_cpu_exactly_what_the_real_compiler_left_of_movenet(shared_data: Path) -> None:
    folder = shared_data / "models" / "movenet"
    name = "movenet_single_pose_lightning_ptq"
    verdicts = edgetpu_verdicts(view_graph(read_tflite((folder / f"{name}.tflite").read_bytes())))
    compiled = view_graph(read_tflite((folder / f"{name}_edgetpu.tflite").read_bytes()))
    left = sorted((o.name, o.label) for o in compiled.ops if o.name != "edgetpu-custom-op")
    assert sorted((v.op, v.tensor) for v in verdicts if not v.taken) == left
    assert (len(left), len(verdicts)) == (59, 157)


@pytest.mark.shared_data
def test_the_rules_take_all_of_posenet(shared_data: Path) -> None:
    (model,) = (shared_data / "models" / "posenet").glob("*.tflite")
    assert count_on_cpu(edgetpu_verdicts(view_graph(read_tflite(model.read_bytes())))) == 0
