"""What single passes do to the graph, and that the numbers stay."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.host.convert.direct.comparison import Comparison, OnnxBuilder, compare


def _sum_of_upsampled(tmp_path: Path, *factors: int) -> Comparison:
    """A 12x12 value plus one upsampled value per factor."""
    b = OnnxBuilder()
    picture = b.input(1, 3, 24, 24)
    total = b.conv(picture, 3, 8, 3, strides=[2, 2])
    for factor in factors:
        small = b.op("AveragePool", total, kernel_shape=[factor] * 2, strides=[factor] * 2)
        up = b.op(
            "Resize", b.conv(small, 8, 8), "", b.constant([1, 1, factor, factor]),
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        total = b.op("Add", b.op("Sigmoid", total) if factor == factors[0] else total, up)
    return compare(b.save(tmp_path / "sum.onnx", b.op("Relu", total)))


def _parallel_sum(tmp_path: Path, *factors: int) -> Comparison:
    b = OnnxBuilder()
    base = b.op("Sigmoid", b.conv(b.input(1, 3, 24, 24), 3, 8, 3, strides=[2, 2]))
    total = base
    for factor in factors:
        small = b.conv(b.op("AveragePool", base, kernel_shape=[factor] * 2, strides=[factor] * 2), 8, 8)
        up = b.op(
            "Resize", small, "", b.constant([1, 1, factor, factor]),
            mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
        )  # fmt: skip
        total = b.op("Add", total, up)
    return compare(b.save(tmp_path / "sum.onnx", b.op("Relu", total)))


@pytest.mark.parametrize(
    ("factors", "nested"),
    [
        ((2, 4), True),
        ((4, 2), True),
        ((2, 4, 12), True),
        ((3, 6), True),
        ((2, 3), False),
        ((4, 6), False),
        ((2,), False),
    ],
)
def test_sum_of_upsampled_values_is_nested_where_factors_divide(
    factors: tuple[int, ...], nested: bool, tmp_path: Path
) -> None:
    result = _parallel_sum(tmp_path, *factors)

    assert result.worst < 1e-5
    assert any(note.startswith("nest_upsampled_sums") for note in result.conversion.notes) is nested
    assert result.kinds["DELEGATE"] == 1


def test_upsampled_value_that_is_read_twice_is_left_alone(tmp_path: Path) -> None:
    assert _sum_of_upsampled(tmp_path, 2, 4).worst < 1e-5


@pytest.mark.parametrize("pad", [0, 1, 2])
@pytest.mark.parametrize("stride", [1, 2])
def test_space_to_depth_folds_into_any_padding(pad: int, stride: int, tmp_path: Path) -> None:
    b = OnnxBuilder()
    blocks = b.op("SpaceToDepth", b.input(1, 3, 12, 16), blocksize=2)
    path = b.save(tmp_path / "net.onnx", b.conv(blocks, 12, 5, 3, pads=[pad] * 4, strides=[stride] * 2))
    result = compare(path)

    assert result.worst < 1e-5
    # An explicit PAD stands between the two where the padding is not SAME: then nothing is folded.
    folded = "SPACE_TO_DEPTH" not in result.conversion.op_counts
    assert folded or result.conversion.op_counts["PAD"] == 1


def test_lone_activation_is_applied_by_a_multiplication(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv(b.input(1, 3, 8, 8), 3, 4)
    path = b.save(tmp_path / "net.onnx", b.op("Add", b.op("Relu", x), b.conv(x, 4, 4)))
    result = compare(path)

    assert result.worst < 1e-5
    assert "RELU" not in result.conversion.op_counts
    assert result.conversion.op_counts["MUL"] == 1


def test_equal_operators_are_computed_once(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv(b.input(1, 3, 8, 8), 3, 4)
    path = b.save(tmp_path / "net.onnx", b.op("Mul", b.op("Sigmoid", x), b.op("Tanh", b.op("Sigmoid", x))))
    result = compare(path)

    assert result.worst < 1e-5
    assert result.conversion.op_counts["LOGISTIC"] == 1


def test_factor_in_front_of_two_readers_is_not_folded(tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.conv(b.input(1, 3, 8, 8), 3, 4)
    scaled = b.op("Mul", x, b.weights(4, 1, 1))
    result = compare(b.save(tmp_path / "net.onnx", b.op("Add", scaled, b.op("Sigmoid", x))))

    assert result.worst < 1e-5
    assert result.conversion.op_counts["MUL"] == 1
