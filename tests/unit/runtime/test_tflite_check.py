"""No harmed TFLite file that passes the check crashes the interpreter; whole files of every kind pass."""

from __future__ import annotations

import os
import random
import signal
import struct
from pathlib import Path
from typing import Any

import pytest

from edgepose.errors import ModelError
from edgepose.host.models.tflite_view import read_tflite
from edgepose.runtime.tflite_check import check_tflite
from tests.support.tiny_networks import write_tiny_tflite

BUILTIN = Path(__file__).resolve().parents[3] / "builtin_models"
LIMIT_S = 60


@pytest.mark.parametrize("path", sorted(BUILTIN.glob("*.tflite")), ids=lambda path: path.name)
def test_the_built_in_models_pass(path: Path) -> None:
    check_tflite(path.read_bytes(), path.name)


@pytest.mark.shared_data
def test_real_models_pass(shared_data: Path) -> None:
    models = sorted((shared_data / "models").rglob("*.tflite"))
    assert len(models) >= 5
    for path in models:
        check_tflite(path.read_bytes(), path.name)


def _run(data: bytes) -> str:
    """How an interpreter in a child ends."""
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(LIMIT_S)
        try:
            from ai_edge_litert.interpreter import Interpreter

            interpreter = Interpreter(model_content=data)
            interpreter.allocate_tensors()
            interpreter.invoke()
        except (ValueError, RuntimeError):
            os._exit(3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        return signal.Signals(os.WTERMSIG(status)).name
    return "refused" if os.waitstatus_to_exitcode(status) else "ran"


def _harmed(data: bytes, generator: random.Random) -> bytes:
    harmed = bytearray(data)
    value = generator.choice((0, 1, 0x7FFFFFFF, 0xFFFFFFFF, generator.randrange(len(data))))
    reach = min(len(data) - 8, 3000)
    at = generator.randrange(reach)
    if generator.random() < 0.5:
        at = len(data) - 8 - at
    struct.pack_into("<I", harmed, at & ~3, value)
    return bytes(harmed)


def test_what_passes_the_check_does_not_crash_the_interpreter(tmp_path: Path) -> None:
    whole = write_tiny_tflite(tmp_path / "m.tflite").read_bytes()
    small = (BUILTIN / "edgepose-d_int8.tflite").read_bytes()
    generator = random.Random(5)  # noqa: S311
    endings, refused = set(), 0
    for number in range(120):
        data = _harmed(whole if number % 2 else small, generator)
        try:
            check_tflite(data, "m.tflite")
        except ModelError:
            refused += 1
            continue
        endings.add(_run(data))
    assert endings <= {"ran", "refused"}
    assert refused > 20


def test_the_interpreter_alone_runs_what_the_check_refuses(tmp_path: Path) -> None:
    """The control: it computes with weights that nothing has written, and with a bias of too few numbers."""
    from ai_edge_litert.tools import flatbuffer_utils

    whole = write_tiny_tflite(tmp_path / "m.tflite").read_bytes()
    for change in (_reverse, _shorten):
        graph = read_tflite(whole)
        change(graph)
        data = bytes(flatbuffer_utils.convert_object_to_bytearray(graph))
        assert _run(data) == "ran"
        with pytest.raises(ModelError):
            check_tflite(data, "m.tflite")


def test_a_channel_without_a_weight_may_have_the_smallest_scale() -> None:
    for scale, taken in ((0.0, True), (1e-40, True), (1.2e-38, True), (1e-11, True), (1e4, False)):
        data = _with_weight_scale((BUILTIN / "edgepose-d_int8.tflite").read_bytes(), scale)
        if taken:
            check_tflite(data, "m.tflite")
            assert _run(data) == "ran"
        else:
            with pytest.raises(ModelError, match="scales that no kernel can join"):
                check_tflite(data, "m.tflite")


def _with_weight_scale(model: bytes, scale: float) -> bytes:
    """With another scale of the first channel's weights, and of its bias, in the second convolution."""
    from ai_edge_litert.tools import flatbuffer_utils

    graph = read_tflite(model)
    tensors, operator = graph.subgraphs[0].tensors, graph.subgraphs[0].operators[1]
    image, weights, bias = (tensors[index].quantization for index in operator.inputs)
    weights.scale = [scale, *weights.scale[1:]]
    bias.scale = [float(image.scale[0]) * scale, *bias.scale[1:]]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(graph))


def _reverse(graph: Any) -> None:
    graph.subgraphs[0].operators.reverse()


def _shorten(graph: Any) -> None:
    first, second = graph.subgraphs[0].operators
    second.inputs[2] = first.inputs[2]
