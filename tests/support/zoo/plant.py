"""Plants trouble for int8 into an ONNX model without changing what it says in float.

Each function reads ``source`` and writes ``out``; the float outputs stay equal within about 1e-4 of their
range (``unsavable``: 3e-4), and plain int8 suffers. ``ill_places`` says where trouble can be planted. The
YOLO-pose models of the zoo bring their own: scores of 0..1 beside coordinates of 0..160 in one tensor.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper

from tests.support.zoo.onnx_edit import OnnxEdit


def ill_places(source: Path, *, folded: bool = False) -> list[str]:
    """Tensors whose channels can be scaled: only convolutions read them.

    Args:
        source: ONNX file.
        folded: Only those where the scale disappears in a convolution in front as well (through ReLU, pools
            and resizes), as in a network that was trained so; elsewhere a visible Mul carries it.
    """
    edit = OnnxEdit(source)
    return [
        tensor
        for tensor in edit.read_by_convolutions()
        if not folded or edit.writing_convolution(tensor) is not None
    ]


def scale_channel(source: Path, out: Path, tensor: str, channel: int, factor: float = 1000.0) -> Path:
    """One channel much larger than its neighbours: the tensor's one int8 scale starves all others."""
    edit = OnnxEdit(source)
    factors = np.ones(edit.channels(tensor))
    factors[channel] = factor
    _scale(edit, tensor, factors)
    return edit.save(out)


def scale_many_channels(
    source: Path, out: Path, seed: int, spread: float = 1.5, *, folded: bool = False
) -> Path:
    """Log-normal imbalance of all channels at every place.

    Args:
        source: ONNX file.
        out: File to write.
        seed: Draws the factors.
        spread: Standard deviation of the natural logarithm of a factor.
        folded: Only where the imbalance leaves no Mul behind, as in TinyPose; some models have no such place.
    """
    edit, random = OnnxEdit(source), np.random.default_rng(seed)
    for tensor in ill_places(source, folded=folded):
        _scale(edit, tensor, np.exp(random.normal(0, spread, edit.channels(tensor))))
    return edit.save(out)


def concat_unlike(source: Path, out: Path, tensor: str, high: float = 640.0) -> Path:
    """Two halves of the channels, one brought to about 0..1, the other to 0..``high``, concatenated."""
    edit = OnnxEdit(source)
    half, channels = edit.channels(tensor) // 2, edit.channels(tensor)
    readers = edit.readers(tensor)
    parts, scaled, joined = [edit.fresh("part") for _ in range(2)], [], edit.fresh("unlike")
    sizes = edit.constant([half, channels - half], np.int64)
    nodes = [helper.make_node("Split", [tensor, sizes], parts, name=edit.fresh("split"), axis=1)]
    # A normalized channel of the zoo reaches about 5.
    for part, factor in zip(parts, (1 / 5, high / 5), strict=True):
        scaled.append(edit.fresh("scaled"))
        operands = [part, edit.constant(np.float32(factor))]
        nodes.append(helper.make_node("Mul", operands, scaled[-1:], name=scaled[-1]))
    nodes.append(helper.make_node("Concat", scaled, [joined], name=joined, axis=1))
    edit.scale_readers(tensor, np.repeat([5.0, 5.0 / high], [half, channels - half]))
    for reader in readers:
        reader.input[0] = joined
    edit.place(tensor, nodes)
    return edit.save(out)


def add_dead_channels(source: Path, out: Path, tensor: str, count: int, seed: int = 0) -> Path:
    """More channels in front of a ReLU that never fire, each with a bias of -30; readers listen to them.

    Where the ReLU is fused, int8 does not suffer: a repair must not stumble over ranges of exactly 0.

    Raises:
        ValueError: ``tensor`` is no ReLU's output behind a dense convolution that dense convolutions read.
    """
    edit, random = OnnxEdit(source), np.random.default_rng(seed)
    writer = edit.writing_convolution(tensor)
    relu = edit.producer(tensor)
    if writer is None or relu is None or relu.op_type != "Relu" or relu.input[0] != writer.output[0]:
        raise ValueError(f"{tensor} is not the ReLU of a convolution")
    for node in (writer, *edit.readers(tensor)):
        if node.op_type != "Conv" or any(a.name == "group" and a.i != 1 for a in node.attribute):
            raise ValueError(f"{node.name} is no dense convolution")
    kernel = edit.weight(writer.input[1])
    more = random.normal(0, 0.01 * kernel.std(), (count, *kernel.shape[1:]))
    edit.change(writer, 1, lambda weights: np.concatenate([weights, more]))
    edit.change(writer, 2, lambda bias: np.concatenate([bias, np.full(count, -30.0)]))
    for reader in edit.readers(tensor):
        kernel = edit.weight(reader.input[1])
        ears = random.normal(0, kernel.std(), (kernel.shape[0], count, *kernel.shape[2:]))
        edit.change(reader, 1, lambda weights, ears=ears: np.concatenate([weights, ears], axis=1))  # type: ignore[misc]
    return edit.save(out)


def unsavable(source: Path, out: Path, offset: float = 1000.0) -> Path:
    """The signal rides on a large common offset at every place of ``ill_places``.

    ``max(x + offset, offset / 2) - offset`` is x where x stays above -offset / 2. One int8 step of the middle
    is at least offset / 255, about the whole signal; no scale per channel helps, because the offset belongs
    to every channel and a maximum with a constant lets no scale through. Float would do, and 16 bits nearly.

    Raises:
        ValueError: The model has no such place.
    """
    edit = OnnxEdit(source)
    places = edit.read_by_convolutions()
    if not places:
        raise ValueError(f"{source.name} has no tensor that only convolutions read")
    for tensor in places:
        shift, floor = edit.constant(np.float32(offset)), edit.constant(np.float32(offset / 2))
        edit.insert(tensor, [("Add", [shift]), ("Max", [floor]), ("Sub", [shift])])
    return edit.save(out)


def _scale(edit: OnnxEdit, tensor: str, factors: np.ndarray) -> None:
    writer = edit.writing_convolution(tensor)
    edit.scale_readers(tensor, 1 / factors)
    if writer is not None:
        edit.scale_writer(writer, factors)
    else:
        edit.insert(tensor, [("Mul", [edit.constant(factors[None, :, None, None])])])
