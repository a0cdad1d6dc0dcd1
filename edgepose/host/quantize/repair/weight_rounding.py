"""Rounds weights so that the layer's result changes least, not each weight for itself.

A depthwise filter that looks for edges has weights that cancel; rounded one by one they no longer do, and
what leaks through is the image itself. Here every rounding error is spread over the weights that are not
rounded yet, according to how their inputs go together on calibration crops. The method is that of Frantar
et al., "GPTQ" (ICLR 2023), after Hassibi and Stork's optimal brain surgeon; it wants no labels and no
training.

The result is again a float network: each weight lies on the grid that the quantizer will find, because the
largest weight of every output channel keeps its place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgepose.host.quantize.repair.network import Network, Weighted
from edgepose.runtime.activation_statistics import ChannelStatistics, RunsAndKeeps

Moments = NDArray[np.float64]

LARGEST_CODE = 127
# Windows per crop and layer, at most: enough for the moments, a fraction of the work.
_WINDOWS = 400
# Layers with more weights per output are rounded plainly: their errors average out anyway.
_LARGEST_LAYER = 2400
_DAMPING = 0.01


def second_moments(
    network: Network, model: RunsAndKeeps, inputs: Iterable[NDArray[Any]]
) -> dict[str, Moments]:
    """How the inputs of each weighted layer go together.

    Returns:
        By the layer's output: float64 (groups, inputs of an output, inputs of an output), the mean product.
    """
    layers = [step for step in network.steps if isinstance(step, Weighted) and _is_rounded(network, step)]
    sums: dict[str, Moments] = {}
    for values in inputs:
        model.run(values)
        for step in layers:
            look = partial(_windows, network, step)
            windows = look(values) if step.source in network.inputs else model.look_at(step.source, look)
            product = np.matmul(windows.transpose(0, 2, 1), windows) / windows.shape[1]
            known = sums.get(step.output)
            sums[step.output] = product.astype(np.float64) if known is None else known + product
    return sums


def rounded_constants(
    network: Network, moments: Mapping[str, Moments], statistics: Mapping[str, ChannelStatistics]
) -> dict[str, NDArray[np.float32]]:
    """Weights on the int8 grid, and biases that take back what the rounding adds on average.

    Everything else was done to the network already; a layer without moments is rounded plainly.
    """
    changed: dict[str, NDArray[np.float32]] = {}
    for step in network.steps:
        if not isinstance(step, Weighted):
            continue
        stored = network.constants[step.weights].transpose(step.to_matrix)
        exact = network.matrix(step).astype(np.float64)
        rounded = _rounded(step, exact, moments.get(step.output))
        changed[step.weights] = step.in_file_layout(rounded.reshape(stored.shape))
        if step.bias is not None and step.source in statistics and not step.spreads:
            shift = (rounded - exact).sum(axis=2) * statistics[step.source].mean[step.reads]
            bias = network.constants[step.bias] - shift.sum(axis=1)
            changed[step.bias] = bias.astype(np.float32)
    return changed


def weight_steps(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The int8 step of every output channel (O,) of weights (O, inputs, taps)."""
    largest = np.abs(matrix).reshape(len(matrix), -1).max(axis=1)
    return np.where(largest > 0, largest / LARGEST_CODE, 1.0)


def _is_rounded(network: Network, step: Weighted) -> bool:
    _, per_output, taps = network.matrix(step).shape
    return step.dilation == (1, 1) and per_output * (1 if step.spreads else taps) <= _LARGEST_LAYER


def _groups(step: Weighted) -> NDArray[np.int64]:
    """The input channels of each group (groups, channels of a group)."""
    return np.unique(step.reads, axis=0)


def _windows(network: Network, step: Weighted, source: NDArray[np.float32]) -> NDArray[np.float32]:
    """Samples of what one output place sees: (groups, windows, inputs of an output)."""
    maps = np.moveaxis(source, step.channel_axes[0], -1)
    kernel = network.constants[step.weights].transpose(step.to_matrix).shape[2:]
    if maps.ndim == 4 and len(kernel) == 2 and not step.spreads:
        # A map smaller than the kernel is padded in the network as well.
        short = [(0, max(size - side, 0)) for size, side in zip(kernel, maps.shape[1:3], strict=True)]
        padded = np.pad(maps[0], [*short, (0, 0)])
        views = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(0, 1))
        every = max(1, int(np.ceil(np.sqrt(views.shape[0] * views.shape[1] / _WINDOWS))))
        top, left = (min(every // 2, (places - 1) // 2) for places in views.shape[:2])
        picked = views[top::every, left::every]
        samples = picked.reshape(-1, maps.shape[-1], kernel[0] * kernel[1])
    else:
        rows = maps.reshape(-1, maps.shape[-1])
        samples = rows[:: max(1, len(rows) // _WINDOWS), :, None]
    groups = _groups(step)
    grouped = samples[:, groups]
    return np.ascontiguousarray(grouped.reshape(len(samples), len(groups), -1).transpose(1, 0, 2))


def _rounded(step: Weighted, exact: NDArray[np.float64], moments: Moments | None) -> NDArray[np.float64]:
    steps = weight_steps(exact)
    if moments is None:
        return np.asarray(np.round(exact / steps[:, None, None]) * steps[:, None, None])
    rows, per_output, taps = exact.shape
    if step.spreads:
        # Each tap of a transposed convolution adds to another output place.
        flat = exact.transpose(0, 2, 1).reshape(rows * taps, per_output)
        codes = _codes(flat / np.repeat(steps, taps)[:, None], moments, np.zeros(rows * taps, np.int64))
        codes = codes.reshape(rows, taps, per_output).transpose(0, 2, 1)
    else:
        _, group_of_row = np.unique(step.reads, axis=0, return_inverse=True)
        codes = _codes(exact.reshape(rows, -1) / steps[:, None], moments, group_of_row.reshape(-1))
        codes = codes.reshape(rows, per_output, taps)
    return np.asarray(codes * steps[:, None, None])


def _codes(
    weights: NDArray[np.float64], moments: Moments, group_of_row: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Whole codes of weights that are given in steps (rows, inputs)."""
    upper = _inverse_factors(moments)[group_of_row] if len(moments) > 1 else _inverse_factors(moments)
    weights, columns = weights.copy(), weights.shape[1]
    largest = np.abs(weights).argmax(axis=1)
    kept = np.round(np.take_along_axis(weights, largest[:, None], 1))[:, 0]
    codes = np.zeros_like(weights)
    for column in range(columns):
        code = np.clip(np.round(weights[:, column]), -LARGEST_CODE, LARGEST_CODE)
        # The largest weight sets the step, so it keeps its code. In a transposed convolution a row is one
        # tap of an output channel, and the largest weight of a tap that sets no step keeps a smaller one.
        codes[:, column] = np.where(largest == column, kept, code)
        error = (weights[:, column] - codes[:, column]) / upper[:, column, column]
        weights[:, column + 1 :] -= error[:, None] * upper[:, column, column + 1 :]
    return codes


def _inverse_factors(moments: Moments) -> Moments:
    """Upper Cholesky factors of the inverse moments, per group; a dead input does not count."""
    size = moments.shape[-1]
    power = np.einsum("gii->gi", moments)
    damping = _DAMPING * power.mean(axis=1) + 1e-12
    damped = moments + damping[:, None, None] * np.eye(size)
    return np.linalg.cholesky(np.linalg.inv(damped)).transpose(0, 2, 1)
