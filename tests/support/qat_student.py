"""A tiny student with lively batch normalization, and pictures for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgepose.host.distill.students import STUDENT_SKELETON, StudentDesign, build_student


def lively_student(design: StudentDesign, seed: int = 0) -> Any:
    """A fresh student whose normalizations are far from doing nothing."""
    import keras

    keras.utils.set_random_seed(seed)
    student = build_student(design, STUDENT_SKELETON.keypoint_count)
    rng = np.random.default_rng(seed)
    for layer in student.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            size = layer.gamma.shape
            statistics = rng.normal(0, 0.3, size), rng.uniform(0.3, 2.0, size)
            layer.set_weights([rng.uniform(0.5, 1.5, size), rng.normal(0, 0.3, size), *statistics])
    head = student.layers[-1]
    kernel, bias = head.get_weights()
    head.set_weights([20 * kernel, rng.normal(0, 0.1, bias.shape)])
    return student


def smooth_pictures(design: StudentDesign, count: int, seed: int = 0) -> np.ndarray:
    """(count, H, W, 3) uint8: coloured blobs, as pictures have, not noise."""
    import cv2

    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    return np.stack([cv2.resize(one, design.input_wh, interpolation=cv2.INTER_CUBIC) for one in coarse])
