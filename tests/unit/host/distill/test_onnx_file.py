"""A student as ONNX gives the answers of the Keras student."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgepose.errors import ModelError
from tests.support.distill_samples import TINY
from tests.support.qat_student import lively_student


def test_the_onnx_file_answers_as_the_student_does(tmp_path: Path) -> None:
    from edgepose.host.distill.export import onnx_bytes, require_same_answers
    from edgepose.host.distill.folded_network import fold

    student, path = lively_student(TINY), tmp_path / "student.onnx"
    path.write_bytes(onnx_bytes(fold(student)))
    require_same_answers(student, path)
    assert path.read_bytes() == onnx_bytes(fold(student))


@pytest.mark.parametrize("wrong", ["kernel", "cut", "bias"])
def test_a_file_that_answers_otherwise_is_refused(tmp_path: Path, wrong: str) -> None:
    from edgepose.host.distill.export import onnx_bytes, require_same_answers
    from edgepose.host.distill.folded_network import fold

    student = lively_student(TINY)
    network = fold(student)
    steps = list(network.steps)
    if wrong == "kernel":
        assert steps[2].kernel is not None
        steps[2] = replace(steps[2], kernel=np.ascontiguousarray(steps[2].kernel[::-1]))
    elif wrong == "cut":
        steps[0] = replace(steps[0], relu6=False)
    else:
        first = next(i for i, step in enumerate(steps) if step.kind == "convolution")
        assert steps[first].bias is not None
        steps[first] = replace(steps[first], bias=steps[first].bias + np.float32(0.1))
    path = tmp_path / "student.onnx"
    path.write_bytes(onnx_bytes(replace(network, steps=tuple(steps))))
    with pytest.raises(ModelError, match="differs from the student"):
        require_same_answers(student, path)
