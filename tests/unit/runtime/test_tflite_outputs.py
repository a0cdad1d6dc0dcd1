"""Leaving out what only unread outputs need: the rest stays as it was, and doubt changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.tools import flatbuffer_utils
from numpy.typing import NDArray

from edgepose.runtime.backends.litert_backend import without_unread_outputs
from tests.support.tflite_networks import Builder

PICTURE = np.random.default_rng(3).normal(size=(1, 8, 6, 4)).astype(np.float32)


def branching() -> bytes:
    """A trunk and three heads of 2, 3 and 5 channels, the last of two ops; no signature."""
    b = Builder(seed=1)
    trunk = b.conv(b.image, 4, 8, size=3)
    content = b.model(b.conv(trunk, 8, 2), b.conv(b.op("RELU", trunk), 8, 3), b.conv(trunk, 8, 5))
    return without_signature(content)


def without_signature(content: bytes) -> bytes:
    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    model.signatureDefs = None
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def results(content: bytes) -> tuple[int, dict[str, NDArray[np.float32]]]:
    """How many ops there are, and what comes out, by name."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], PICTURE)
    interpreter.invoke()
    ops = schema.ModelT.InitFromPackedBuf(bytearray(content)).subgraphs[0].operators
    outputs = interpreter.get_output_details()
    return len(ops), {entry["name"]: interpreter.get_tensor(entry["index"]) for entry in outputs}


@pytest.mark.parametrize(
    ("kept_channels", "ops"), [((2,), 2), ((3,), 3), ((2, 3), 4), ((3, 5), 4), ((2, 5), 3)]
)
def test_what_is_read_comes_out_bit_for_bit_and_the_rest_is_gone(
    kept_channels: tuple[int, ...], ops: int
) -> None:
    whole_ops, whole = results(branching())
    content = without_unread_outputs(branching(), lambda shape: shape[-1] in kept_channels)
    assert content is not None
    left_ops, left = results(content)
    assert (whole_ops, left_ops) == (5, ops)
    assert sorted(value.shape[-1] for value in left.values()) == sorted(kept_channels)
    assert all(np.array_equal(value, whole[name]) for name, value in left.items())


@pytest.mark.parametrize("reads", [lambda _shape: True, lambda _shape: False])
def test_where_all_or_nothing_is_read_the_file_stays(reads: object) -> None:
    assert without_unread_outputs(branching(), reads) is None  # type: ignore[arg-type]


def test_a_file_with_signatures_stays() -> None:
    b = Builder(seed=1)
    signed = b.model(b.conv(b.image, 4, 2), b.conv(b.image, 4, 3))
    assert without_unread_outputs(signed, lambda shape: shape[-1] == 2) is None
    assert without_unread_outputs(without_signature(signed), lambda shape: shape[-1] == 2) is not None


def test_the_given_bytes_are_not_changed() -> None:
    content = branching()
    before = bytes(bytearray(content))
    without_unread_outputs(content, lambda shape: shape[-1] == 2)
    assert content == before


def test_a_damaged_file_is_never_a_crash() -> None:
    content, random = branching(), np.random.default_rng(7)
    for length in random.integers(0, len(content), 60):
        without_unread_outputs(content[:length], lambda shape: shape[-1:] == (2,))
    for _ in range(300):
        harmed = bytearray(content)
        for place in random.integers(0, len(content), 4):
            harmed[place] = random.integers(256)
        without_unread_outputs(bytes(harmed), lambda shape: shape[-1:] == (2,))
    assert without_unread_outputs(b"", lambda _shape: True) is None
