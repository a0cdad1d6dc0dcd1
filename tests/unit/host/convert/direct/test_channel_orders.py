"""Channel shuffles vanish and the numbers stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgepose.host.convert.direct.channel_orders import find_channel_selects, shuffle_groups
from edgepose.host.convert.direct.graph_ir import Graph, Value
from tests.unit.host.convert.direct.comparison import OnnxBuilder, compare


def _shuffle(b: OnnxBuilder, x: str, channels: int, groups: int, size: tuple[int, int], form: int) -> str:
    """A channel shuffle as exporters write it: over 5 axes, over 4, or as a Gather."""
    h, w = size
    n = channels // groups
    if form == 0:
        parts = b.op("Reshape", x, b.integers(1, groups, n, h, w))
        return str(
            b.op("Reshape", b.op("Transpose", parts, perm=[0, 2, 1, 3, 4]), b.integers(1, channels, h, w))
        )
    if form == 1:
        parts = b.op("Reshape", x, b.integers(groups, n, h, w))
        return str(
            b.op("Reshape", b.op("Transpose", parts, perm=[1, 0, 2, 3]), b.integers(1, channels, h, w))
        )
    order = np.arange(channels).reshape(groups, n).T.reshape(-1)
    return str(b.op("Gather", x, b.integers(*order.tolist()), axis=1))


def _shuffle_unit(b: OnnxBuilder, x: str, channels: int, form: int) -> str:
    half = channels // 2
    kept, worked = b.op("Split", x, b.integers(half, half), outputs=2, axis=1)
    y = b.op("Relu", b.conv(worked, half, half))
    y = b.conv(y, half, half, 3, group=half)
    y = b.op("Relu", b.conv(y, half, half))
    return _shuffle(b, b.op("Concat", kept, y, axis=1), channels, 2, (6, 5), form)


@pytest.mark.parametrize("form", [0, 1, 2], ids=["5 axes", "4 axes", "Gather"])
def test_chain_of_shuffle_units_needs_no_transpose(form: int, tmp_path: Path) -> None:
    b = OnnxBuilder()
    x = b.op("Relu", b.conv(b.input(1, 3, 6, 5), 3, 16))
    for _ in range(5):
        x = _shuffle_unit(b, x, 16, form)
    result = compare(b.save(tmp_path / "units.onnx", b.conv(x, 16, 4)))

    assert result.worst < 1e-5
    assert not {"TRANSPOSE", "GATHER"} & set(result.conversion.op_counts)


def test_graph_without_a_shuffle_keeps_its_slices(tmp_path: Path) -> None:
    b = OnnxBuilder()
    left, right = b.op("Split", b.conv(b.input(1, 3, 6, 5), 3, 8), b.integers(4, 4), outputs=2, axis=1)
    result = compare(b.save(tmp_path / "plain.onnx", b.op("Add", left, b.op("Sigmoid", right))))

    assert result.conversion.op_counts["SLICE"] == 2
    assert not any(note.startswith("order_channels") for note in result.conversion.notes)


def test_shuffled_output_keeps_its_channel_order(tmp_path: Path) -> None:
    b = OnnxBuilder()
    result = compare(b.save(tmp_path / "out.onnx", _shuffle(b, b.input(1, 8, 6, 5), 8, 2, (6, 5), 0)))

    assert result.worst == 0.0


def test_transpose_that_moves_rows_is_no_shuffle() -> None:
    graph = Graph()
    x = Value("x", (1, 4, 4, 6), np.dtype(np.float32))
    graph.inputs.append(x)
    parts = graph.emit("RESHAPE", [x], (4, 4, 2, 3), {"shape": (4, 4, 2, 3)})
    moved = graph.emit("TRANSPOSE", [parts], (4, 4, 3, 2), {"perm": (1, 0, 3, 2)})
    graph.outputs = [graph.emit("RESHAPE", [moved], x.shape, {"shape": x.shape})]

    assert find_channel_selects(graph) == 0


def test_groups_of_a_shuffle_are_recognized() -> None:
    assert shuffle_groups([0, 3, 1, 4, 2, 5]) == 2
    assert shuffle_groups([0, 2, 4, 1, 3, 5]) == 3
    assert shuffle_groups([0, 1, 2, 3]) == 0
    assert shuffle_groups([1, 0, 3, 2]) == 0


class _RandomNetwork:
    """Grows a network of values that all are (1, C, 6, 5) and remembers each one's channels."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.b = OnnxBuilder(seed=draw(st.integers(0, 99)))
        channels = draw(st.sampled_from([4, 6, 8, 12]))
        self.values = [(self.b.conv(self.b.input(1, 3, 6, 5), 3, channels), channels)]

    def grow(self) -> None:
        name, channels = self.draw(st.sampled_from(self.values))
        kind = self.draw(
            st.sampled_from(
                ["conv", "depthwise", "relu", "shuffle", "split", "concat", "add", "scale", "gate"]
            )
        )
        getattr(self, "_" + kind)(name, channels)

    def _conv(self, x: str, c: int) -> None:
        out = self.draw(st.sampled_from([4, 6, 8]))
        self.values.append((self.b.conv(x, c, out, self.draw(st.sampled_from([1, 3]))), out))

    def _depthwise(self, x: str, c: int) -> None:
        self.values.append((self.b.conv(x, c, c, 3, group=c), c))

    def _relu(self, x: str, c: int) -> None:
        self.values.append((self.b.op(self.draw(st.sampled_from(["Relu", "Sigmoid"])), x), c))

    def _shuffle(self, x: str, c: int) -> None:
        groups = self.draw(st.sampled_from([g for g in (2, 3) if c % g == 0] or [1]))
        self.values.append((_shuffle(self.b, x, c, groups, (6, 5), self.draw(st.integers(0, 2))), c))

    def _split(self, x: str, c: int) -> None:
        if c < 4:
            return
        at = self.draw(st.integers(1, c - 1))
        left, right = self.b.op("Split", x, self.b.integers(at, c - at), outputs=2, axis=1)
        self.values += [(left, at), (right, c - at)]

    def _concat(self, x: str, c: int) -> None:
        other, more = self.draw(st.sampled_from(self.values))
        if c + more <= 24:
            self.values.append((self.b.op("Concat", x, other, axis=1), c + more))

    def _add(self, x: str, c: int) -> None:
        other = self.draw(st.sampled_from([name for name, channels in self.values if channels == c]))
        self.values.append((self.b.op(self.draw(st.sampled_from(["Add", "Max"])), x, other), c))

    def _scale(self, x: str, c: int) -> None:
        self.values.append((self.b.op("Mul", x, self.b.weights(c, 1, 1)), c))

    def _gate(self, x: str, c: int) -> None:
        self.values.append((self.b.op("Mul", x, self.b.op("Sigmoid", self.b.op("GlobalAveragePool", x))), c))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_channel_graphs_stay_equal(data: st.DataObject, tmp_path: Path) -> None:
    network = _RandomNetwork(data.draw)
    for _ in range(data.draw(st.integers(3, 18))):
        network.grow()
    outputs = [name for name, _ in network.values[-2:]]
    path = network.b.save(tmp_path / "random.onnx", *dict.fromkeys(outputs))

    assert compare(path).worst < 1e-4
