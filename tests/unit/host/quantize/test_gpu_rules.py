"""What the GPU delegate of a phone is expected to take."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgepose.host.quantize.delegates.check import check_delegate
from edgepose.host.quantize.delegates.gpu import gpu_reason, gpu_verdicts
from edgepose.host.quantize.delegates.op_view import GraphView, OpView, TensorView
from edgepose.records.device_profile import find_profile


def tensor(*shape: int, index: int = 0, dtype: str = "FLOAT32", constant: bool = False) -> TensorView:
    values = np.zeros(shape, np.int32) if constant else None
    return TensorView(index, f"t{index}", shape, dtype, constant, values)


PICTURE, RESULT = tensor(1, 8, 8, 16), tensor(1, 8, 8, 16, index=1)
WEIGHTS = tensor(16, 3, 3, 16, index=2, constant=True)


def op(name: str, *inputs: TensorView, out: TensorView = RESULT, **options: object) -> OpView:
    return OpView(name, inputs or (PICTURE,), (out,), options)


@pytest.mark.parametrize(
    "taken",
    [
        op("CONV_2D", PICTURE, WEIGHTS),
        op("ADD", PICTURE, PICTURE),
        op("MUL", PICTURE, tensor(16, index=3, constant=True)),
        op(
            "SLICE", PICTURE, tensor(4, dtype="INT32", constant=True), tensor(4, dtype="INT32", constant=True)
        ),
        op("MEAN", PICTURE, tensor(2, dtype="INT32", constant=True)),
        op("RESIZE_BILINEAR", PICTURE, tensor(2, dtype="INT32", constant=True), alignCorners=True),
        op("HARD_SWISH"),
        op("LOGISTIC", tensor(1, 8, 8, 16, dtype="INT8")),
    ],
    ids=lambda o: o.name,
)
def test_an_op_that_the_delegate_checks_well_is_taken(taken: OpView) -> None:
    assert gpu_reason(taken) is None


@pytest.mark.parametrize(
    ("refused", "reason"),
    [
        (op("ARG_MAX"), "no such operation"),
        (op("GATHER_ND"), "no such operation"),
        (op("LOGISTIC", tensor(1, 8, 8, 16, dtype="INT16")), "is INT16"),
        (op("TRANSPOSE", tensor(1, 8, 2, 8, 4), tensor(5, dtype="INT32", constant=True)), "5 dimensions"),
        (op("SLICE", tensor(8, 8)), "other than 3 or 4"),
        (op("STRIDED_SLICE", PICTURE, shrinkAxisMask=1), "shrinkAxisMask"),
        (op("SOFTMAX", beta=2.0), "beta is 2.0"),
        (op("CAST", tensor(1, 8, 8, 16, dtype="UINT8")), "casts between"),
        (op("MEAN", PICTURE, tensor(2, dtype="INT32", index=4)), "axes are not a constant"),
        (op("DEPTHWISE_CONV_2D", PICTURE, tensor(1, 3, 3, 8, constant=True)), "weights for 8 channels"),
        (op("RESIZE_BILINEAR", PICTURE, alignCorners=True, halfPixelCenters=True), "aligns corners"),
    ],
)
def test_an_op_that_the_delegate_refuses_has_its_reason(refused: OpView, reason: str) -> None:
    assert reason in (gpu_reason(refused) or "")


def test_weights_that_are_unpacked_from_float16_count_as_stored() -> None:
    half = tensor(16, 3, 3, 16, index=5, dtype="FLOAT16", constant=True)
    full, bias = tensor(16, 3, 3, 16, index=6), tensor(16, index=7)
    unpack = op("DEQUANTIZE", half, out=full), op("DEQUANTIZE", tensor(16, index=8, constant=True), out=bias)
    convolution = op("CONV_2D", PICTURE, full, bias)
    assert all(v.taken for v in gpu_verdicts(GraphView((*unpack, convolution))))
    # The same weights and bias, computed while the model runs, are something else.
    assert not gpu_verdicts(GraphView((convolution,)))[0].taken


@pytest.mark.shared_data
def test_movenets_decoder_and_nothing_else_stays_on_the_cpu_of_a_phone(shared_data: Path) -> None:
    model = shared_data / "models" / "movenet" / "movenet_single_pose_lightning_ptq.tflite"
    report = check_delegate(find_profile("phone"), model)
    assert report is not None
    assert (report.delegate, report.status, report.ops_on_delegate) == ("gpu", "rules checked", None)
    assert {entry.op for entry in report.refused} == {"ARG_MAX", "CAST", "GATHER_ND", "UNPACK"}
