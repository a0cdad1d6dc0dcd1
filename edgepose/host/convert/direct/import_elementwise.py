"""Operators that treat every element alike: arithmetic, activations, normalizations."""

from __future__ import annotations

import math

import numpy as np

from edgepose.host.convert.direct.graph_ir import Value
from edgepose.host.convert.direct.onnx_import import Handler, NodeImport


def unary(kind: str) -> Handler:
    """Return the handler of an operator with one operand and no attributes."""

    def handler(n: NodeImport) -> Value:
        return n.emit(kind, [n.x], n.x.shape)

    return handler


def _two(n: NodeImport, kind: str, a: Value, b: Value) -> Value:
    shape = np.broadcast_shapes(a.shape, b.shape)
    if a.dtype != np.float32 or b.dtype != np.float32:
        raise n.unsupported(f"arithmetic on {a.dtype} and {b.dtype}")
    return n.emit(kind, [a, b], shape)


def binary(kind: str) -> Handler:
    """Return the handler of a broadcasting operator; more than two operands are taken one by one."""

    def handler(n: NodeImport) -> Value:
        result = n.x
        for position in range(1, len(n.inputs)):
            result = _two(n, kind, result, n.operand(position))
        return result

    return handler


def div(n: NodeImport) -> Value:
    """Div; by a constant it is a multiplication, which every delegate has."""
    divisor = n.operand(1)
    if divisor.data is not None and divisor.dtype == np.float32 and np.all(divisor.data != 0):
        return _two(n, "MUL", n.x, n.const((1.0 / divisor.data.astype(np.float64)).astype(np.float32)))
    return _two(n, "DIV", n.x, divisor)


def clip(n: NodeImport) -> Value:
    """Clip: ReLU, a ReLU6 of another size, or with one bound only MAXIMUM or MINIMUM."""
    low, high = n.attr("min", None), n.attr("max", None)
    if n.opset >= 11:
        found = [n.optional_constant(position) for position in (1, 2)]
        low, high = (None if bound is None else float(bound) for bound in found)
    low = -math.inf if low is None or low <= np.finfo(np.float32).min else float(low)
    high = math.inf if high is None or high >= np.finfo(np.float32).max else float(high)
    if low == 0.0 and high in {6.0, math.inf}:
        return n.emit("RELU6" if high == 6.0 else "RELU", [n.x], n.x.shape)
    if -math.inf < low < high < math.inf:
        return _between(n, low, high)
    result = n.x if low == -math.inf else n.emit("MAXIMUM", [n.x, n.const(low)], n.x.shape)
    return result if high == math.inf else _smaller(n, result, n.const(high))


def _between(n: NodeImport, low: float, high: float) -> Value:
    """clip(x, low, high) is relu6((x - low) s) / s + low with s = 6 / (high - low): integers know RELU6."""
    slope = 6.0 / (high - low)
    x = n.emit("MUL", [n.x, n.const(slope)], n.x.shape)
    if low:
        x = n.emit("ADD", [x, n.const(-low * slope)], x.shape)
    x = n.emit("MUL", [n.emit("RELU6", [x], x.shape), n.const(1.0 / slope)], x.shape)
    return n.emit("ADD", [x, n.const(low)], x.shape) if low else x


def negative(n: NodeImport, x: Value) -> Value:
    """-x as a product: the int8 quantizer knows no NEG."""
    if x.data is not None:
        return n.const(-x.data)
    return n.emit("MUL", [x, n.const(-1.0)], x.shape)


def minimum(n: NodeImport) -> Value:
    """Min."""
    result = n.x
    for position in range(1, len(n.inputs)):
        result = _smaller(n, result, n.operand(position))
    return result


def _smaller(n: NodeImport, a: Value, b: Value) -> Value:
    """min(a, b) is -max(-a, -b): the int8 quantizer knows no MINIMUM."""
    return negative(n, _two(n, "MAXIMUM", negative(n, a), negative(n, b)))


def leaky_relu(n: NodeImport) -> Value:
    """LeakyRelu: max(x, alpha x), which the int8 quantizer knows, where alpha allows it."""
    alpha = float(n.attr("alpha", 0.01))
    if not 0.0 <= alpha <= 1.0:
        return n.emit("LEAKY_RELU", [n.x], n.x.shape, alpha=alpha)
    return n.emit("MAXIMUM", [n.x, n.emit("MUL", [n.x, n.const(alpha)], n.x.shape)], n.x.shape)


def prelu(n: NodeImport) -> Value:
    """PRelu with a constant slope."""
    slope = n.constant(1)
    rank = len(n.x.shape)
    full = slope.reshape((1,) * (rank - slope.ndim) + slope.shape)
    return n.emit("PRELU", [n.x, n.const(full)], n.x.shape)


def hard_sigmoid(n: NodeImport) -> Value:
    """HardSigmoid: clip(alpha x + beta, 0, 1) is relu6(6 alpha x + 6 beta) / 6."""
    slope = float(np.float32(6.0 * float(n.attr("alpha", 0.2))))
    x = n.x if abs(slope - 1.0) < 1e-6 else n.emit("MUL", [n.x, n.const(slope)], n.x.shape)
    shifted = n.emit("ADD", [x, n.const(6.0 * float(n.attr("beta", 0.5)))], x.shape)
    clipped = n.emit("RELU6", [shifted], x.shape)
    return n.emit("MUL", [clipped, n.const(1.0 / 6.0)], x.shape)


def gelu(n: NodeImport) -> Value:
    """Gelu, exact or by tanh."""
    return n.emit("GELU", [n.x], n.x.shape, approximate=n.attr("approximate", "none") == "tanh")


def power(n: NodeImport) -> Value:
    """Pow: squares and roots have operators of their own."""
    exponent = n.operand(1)
    if exponent.data is not None and exponent.data.size == 1:
        number = float(exponent.data.reshape(()))
        if number == 2.0:
            return n.emit("MUL", [n.x, n.x], n.x.shape)
        if number == 0.5:
            return n.emit("SQRT", [n.x], n.x.shape)
        if number == 1.0:
            return n.x
        exponent = n.const(number)
    return _two(n, "POW", n.x, exponent)


def batch_normalization(n: NodeImport) -> Value:
    """BatchNormalization: a factor and a summand per channel."""
    scale, bias, mean, variance = (n.constant(i).astype(np.float64) for i in range(1, 5))
    factor = scale / np.sqrt(variance + float(n.attr("epsilon", 1e-5)))
    shape = (1, -1, *(1 for _ in n.x.shape[2:]))
    scaled = n.emit("MUL", [n.x, n.const(factor.reshape(shape))], n.x.shape)
    return n.emit("ADD", [scaled, n.const((bias - mean * factor).reshape(shape))], n.x.shape)


def _normalized(n: NodeImport, x: Value, axes: tuple[int, ...], epsilon: float) -> Value:
    """Return (x - mean) * rsqrt(variance + epsilon) over ``axes``.

    RSQRT and MUL, not SQRT and DIV: the latter ruin a static int8 model without an error.
    """
    kept = tuple(1 if axis in axes else size for axis, size in enumerate(x.shape))
    mean = n.emit("MEAN", [x], kept, axes=axes, keep_dims=True)
    centred = n.emit("SUB", [x, mean], x.shape)
    squares = n.emit("MUL", [centred, centred], x.shape)
    variance = n.emit("MEAN", [squares], kept, axes=axes, keep_dims=True)
    inverse = n.emit("RSQRT", [n.emit("ADD", [variance, n.const(epsilon)], kept)], kept)
    return n.emit("MUL", [centred, inverse], x.shape)


def layer_normalization(n: NodeImport) -> Value:
    """LayerNormalization, decomposed."""
    if len([name for name in n.node.output if name]) > 1:
        raise n.unsupported("the mean and deviation as outputs")
    rank = len(n.x.shape)
    axes = tuple(range(int(n.attr("axis", -1)) % rank, rank))
    result = _normalized(n, n.x, axes, float(n.attr("epsilon", 1e-5)))
    result = n.emit("MUL", [result, n.const(n.constant(1))], n.x.shape)
    bias = n.optional_constant(2)
    return result if bias is None else n.emit("ADD", [result, n.const(bias)], n.x.shape)


def instance_normalization(n: NodeImport) -> Value:
    """InstanceNormalization, decomposed."""
    axes = tuple(range(2, len(n.x.shape)))
    shape = (1, -1, *(1 for _ in axes))
    result = _normalized(n, n.x, axes, float(n.attr("epsilon", 1e-5)))
    result = n.emit("MUL", [result, n.const(n.constant(1).reshape(shape))], n.x.shape)
    return n.emit("ADD", [result, n.const(n.constant(2).reshape(shape))], n.x.shape)


def cast(n: NodeImport) -> Value:
    """Cast between float32, int32 and int64; the same dtype is no operation."""
    wanted = {1: np.float32, 6: np.int32, 7: np.int64}.get(int(n.attr("to", 0)))
    if wanted is None:
        raise n.unsupported(f"a cast to ONNX type {n.attr('to', 0)}")
    if n.x.dtype == wanted:
        return n.x
    return n.emit("CAST", [n.x], n.x.shape, dtype=wanted)


HANDLERS: dict[str, Handler] = {
    "Abs": unary("ABS"),
    "Add": binary("ADD"),
    "BatchNormalization": batch_normalization,
    "Cast": cast,
    "Clip": clip,
    "Div": div,
    "Dropout": lambda n: n.x,
    "Erf": unary("ERF"),
    "Exp": unary("EXP"),
    "Gelu": gelu,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": unary("HARD_SWISH"),
    "Identity": lambda n: n.x,
    "InstanceNormalization": instance_normalization,
    "LayerNormalization": layer_normalization,
    "LeakyRelu": leaky_relu,
    "Log": unary("LOG"),
    "Max": binary("MAXIMUM"),
    "Min": minimum,
    "Mul": binary("MUL"),
    "Neg": lambda n: negative(n, n.x),
    "PRelu": prelu,
    "Pow": power,
    "Reciprocal": lambda n: n.emit("DIV", [n.const(1.0), n.x], n.x.shape, dtype=np.float32),
    "Relu": unary("RELU"),
    "Sigmoid": unary("LOGISTIC"),
    "Sqrt": unary("SQRT"),
    "Sub": binary("SUB"),
    "Sum": binary("ADD"),
    "Tanh": unary("TANH"),
}
