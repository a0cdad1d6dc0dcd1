"""Fake quantization: the numbers of TFLite, the gradients of the identity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgepose.errors import ModelError

RANGES = [(-1.0, 3.0), (0.0, 6.0), (0.0, 0.37), (0.5, 2.0), (-2.5, -1.0), (-0.001, 40.0)]


def oracle(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """As Jacob et al. 2018 describe it, value by value in float64, with the codes in Python integers."""
    low, high = min(0.0, low), max(0.0, high)
    step = (high - low) / 255
    zero = round(-128 - low / step)
    codes = [min(127, max(-128, round(float(value) / step) + zero)) for value in values]
    return np.array([(code - zero) * step for code in codes])


@pytest.mark.parametrize(("low", "high"), RANGES)
def test_activations_are_rounded_as_the_oracle_rounds_them(low: float, high: float) -> None:
    from edgepose.host.distill.rounded_student import rounded_activations

    rng = np.random.default_rng(0)
    values = rng.uniform(1.5 * min(low, 0) - 0.1, 1.5 * max(high, 0) + 0.1, 4000).astype(np.float32)
    found = np.asarray(rounded_activations(values, np.float32(low), np.float32(high)))
    expected = oracle(values, low, high)
    step = (max(high, 0.0) - min(low, 0.0)) / 255
    apart = np.abs(found - expected) / step
    # float32 and float64 may disagree about a value in the very middle between two codes.
    assert np.mean(apart > 1e-3) < 0.002
    assert len(np.unique(found)) <= 256
    assert np.asarray(rounded_activations(np.zeros(1, np.float32), low, high))[0] == 0.0
    elsewhere = oracle(values, low * 0.9, high * 0.9)
    assert np.mean(np.abs(found - elsewhere) / step > 0.05) > 0.3, "the oracle would not notice another range"


def test_kernels_have_one_symmetric_grid_for_each_output_channel() -> None:
    from edgepose.host.distill.rounded_student import rounded_kernel

    rng = np.random.default_rng(1)
    kernel = (rng.normal(size=(3, 3, 5, 7)) * np.geomspace(1e-3, 10, 7)).astype(np.float32)
    kernel[..., 6] = 0.0
    found = np.asarray(rounded_kernel(kernel))
    for channel in range(6):
        weights = kernel[..., channel].astype(np.float64)
        step = np.abs(weights).max() / 127
        expected = np.array([round(w / step) * step for w in weights.ravel()]).reshape(weights.shape)
        assert np.abs(found[..., channel] - expected).max() < 1e-3 * step
        assert len(np.unique(found[..., channel])) > 20
    assert not found[..., 6].any()


def test_gradients_pass_inside_the_range_and_nowhere_else() -> None:
    import tensorflow as tf

    from edgepose.host.distill.rounded_student import rounded_activations, rounded_kernel

    values = tf.Variable(np.array([-2.0, -1.01, -0.99, 0.0, 0.3, 2.9, 3.1, 50.0], np.float32))
    factors = np.arange(1, 9, dtype=np.float32)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rounded_activations(values, -1.0, 3.0) * factors)
    assert np.asarray(tape.gradient(total, values)).tolist() == [0, 0, 3, 4, 5, 6, 0, 0]
    behind_relu = tf.Variable(np.zeros(3, np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rounded_activations(behind_relu, 0.0, 6.0))
    assert np.asarray(tape.gradient(total, behind_relu)).tolist() == [1, 1, 1]
    kernel = tf.Variable(np.random.default_rng(2).normal(size=(1, 1, 4, 3)).astype(np.float32))
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(rounded_kernel(kernel) * 2.0)
    assert np.all(np.asarray(tape.gradient(total, kernel)) == 2)


def test_folding_gives_the_same_answers_as_the_student() -> None:
    from edgepose.host.distill.folded_network import fold
    from tests.support.distill_samples import TINY
    from tests.support.qat_student import lively_student, smooth_pictures

    student = lively_student(TINY)
    folded = fold(student)
    assert [step.kind for step in folded.steps].count("convolution") == 9
    assert sum(step.relu6 for step in folded.steps) == 7
    pictures = smooth_pictures(TINY, 2) / np.float32(127.5) - np.float32(1)
    expected = np.asarray(student(pictures))
    found = _computed(folded, pictures)
    assert np.abs(found - expected).max() < 1e-5 * np.ptp(expected)
    assert np.abs(_computed(folded, pictures - np.float32(0.05)) - expected).max() > 1e-3


def test_a_moved_input_is_made_up_for_but_at_the_border() -> None:
    from edgepose.host.distill.folded_network import fold, moved_input
    from tests.support.distill_samples import TINY
    from tests.support.qat_student import lively_student, smooth_pictures

    folded = fold(lively_student(TINY))
    stem = replace(folded, steps=folded.steps[:1])
    pictures = smooth_pictures(TINY, 2) / np.float32(127.5) - np.float32(1)
    darker = pictures - np.float32(0.05)
    expected, moved = _computed(stem, pictures), _computed(moved_input(stem, 0.05), darker)
    # At stride 2 the padding is on the far side.
    assert np.abs(moved - expected)[:, :-1, :-1].max() < 1e-5
    assert np.abs(moved - expected).max() > 1e-3
    assert np.abs(_computed(stem, darker) - expected)[:, :-1, :-1].max() > 1e-2


def _computed(folded: object, pictures: np.ndarray) -> np.ndarray:
    """The steps in plain ops, without any rounding."""
    import tensorflow as tf

    tensors = {folded.input_name: tf.constant(pictures)}
    for step in folded.steps:
        sources = [tensors[name] for name in step.sources]
        if step.kind == "convolution":
            result = tf.nn.conv2d(sources[0], step.kernel, step.stride, "SAME") + step.bias
        elif step.kind == "addition":
            result = sources[0] + sources[1]
        else:
            result = tf.image.resize(sources[0], [2 * side for side in sources[0].shape[1:3]])
        tensors[step.name] = tf.nn.relu6(result) if step.relu6 else result
    return np.asarray(tensors[folded.steps[-1].name])


def test_a_layer_of_another_kind_is_refused() -> None:
    import keras

    from edgepose.host.distill.folded_network import fold

    picture = keras.Input((8, 8, 3))
    layers = keras.layers
    strange = {
        "this kind of layer is not known": layers.DepthwiseConv2D(3)(picture),
        "only ReLU6": layers.ReLU()(layers.Conv2D(4, 3, padding="same")(picture)),
        "only plain convolutions": layers.Conv2D(4, 3)(picture),
        "only bilinear": layers.UpSampling2D(2)(picture),
        "does not belong to one": layers.BatchNormalization()(picture),
    }
    for message, output in strange.items():
        with pytest.raises(ModelError, match=message):
            fold(keras.Model(picture, output))
