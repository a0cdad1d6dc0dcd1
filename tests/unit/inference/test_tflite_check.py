"""No harmed TFLite file that passes the check crashes the interpreter; whole files of every kind pass."""

from __future__ import annotations

import os
import random
import signal
import struct
from pathlib import Path

import pytest

from edgepose.errors import ModelError
from edgepose.inference.tflite_check import check_tflite
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
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "ended"


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
    assert endings == {"ended"}
    assert refused > 20


def test_unchecked_files_do_crash_the_interpreter(tmp_path: Path) -> None:
    """The control: some of what is refused would end the process."""
    whole = write_tiny_tflite(tmp_path / "m.tflite").read_bytes()
    generator = random.Random(11)  # noqa: S311
    for _ in range(400):
        data = _harmed(whole, generator)
        try:
            check_tflite(data, "m.tflite")
        except ModelError:
            if _run(data) != "ended":
                return
    pytest.fail("no refused file crashed the interpreter; the check would have nothing to show")
