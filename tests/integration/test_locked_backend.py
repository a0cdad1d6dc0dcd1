"""A model in a locked process answers as it does here; what the process says is not believed."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgepose.errors import EdgeposeError, ModelError
from edgepose.host.models import locked_backend
from edgepose.host.models.keras_intake import read_arrays
from edgepose.host.models.locked_backend import LockedBackend
from edgepose.runtime.backend import run_once
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from edgepose.sandbox.python_child import python_command

DESCRIBED: dict[str, Any] = {
    "input": {"name": "x", "shape": [1, 2], "dtype": "<f4", "scale": 0.0, "zero_point": 0},
    "outputs": [{"name": "y", "shape": [1], "dtype": "<f4", "scale": 0.0, "zero_point": 0}],
    "info": {
        "runtime": "r", "version": "1", "delegate_used": "cpu", "ops_total": 1, "ops_on_cpu": 1, "threads": 1,
    },
}  # fmt: skip


def test_it_answers_as_the_runtime_does_here(marker_onnx: Path) -> None:
    there, here = LockedBackend(marker_onnx, RuntimeOptions(threads=1)), open_backend(marker_onnx)
    assert (there.info, there.input, there.outputs) == (here.info, here.input, here.outputs)
    rng = np.random.default_rng(0)
    for _ in range(3):
        values = rng.standard_normal(here.input.shape).astype(here.input.dtype)
        for one, other in zip(run_once(there, values), run_once(here, values), strict=True):
            np.testing.assert_array_equal(one, other)
    # The folder of the process goes with it.
    folder = Path(f"/proc/{there._process.pid}/cwd").resolve()
    there.close()
    assert not folder.exists()
    with pytest.raises(ModelError, match="was closed"):
        there.invoke()


def test_a_process_that_dies_is_told(marker_onnx: Path) -> None:
    backend = LockedBackend(marker_onnx)
    os.kill(backend._process.pid, signal.SIGKILL)
    with pytest.raises(ModelError, match="ended: it was ended by SIGKILL"):
        backend.invoke()


def test_a_damaged_model_is_the_same_error_as_here(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x08" + bytes(200))
    found = []
    for opened in (open_backend, LockedBackend):
        with pytest.raises(EdgeposeError) as problem:
            opened(tmp_path / "model.onnx")
        found.append((type(problem.value), problem.value.message))
    assert found[0] == found[1]


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], LockedBackend]:
    """Opens a loader that says given bytes; it stands for one that a model has taken over."""
    (tmp_path / "model.onnx").write_bytes(b"model")

    def opened(said: bytes) -> LockedBackend:
        code = f"import sys, time; sys.stdout.buffer.write({said!r}); sys.stdout.flush(); time.sleep(60)"
        words = [*python_command("x")[:2], "-c", code]
        monkeypatch.setattr(locked_backend, "locked_command", lambda _task: words)
        return LockedBackend(tmp_path / "model.onnx")

    return opened


def _line(**changes: Any) -> bytes:
    return json.dumps({**DESCRIBED, **changes}).encode() + b"\n"


@pytest.mark.parametrize(
    "said",
    [
        b"no JSON\n",
        b"[]\n",
        b"{}\n",
        _line(outputs=[{**DESCRIBED["outputs"][0], "dtype": "O"}]),
        _line(outputs=[{**DESCRIBED["outputs"][0], "dtype": "V8"}]),
        _line(outputs=[{**DESCRIBED["outputs"][0], "shape": [1 << 20, 1 << 20]}]),
        _line(outputs=[{**DESCRIBED["outputs"][0], "shape": [-5]}]),
        _line(input={**DESCRIBED["input"], "shape": "12"}),
        _line(info={"surprise": 1}),
        b'{"error": "the model is odd", "family": "SystemExit"}\n',
    ],
)
def test_a_loader_that_describes_nonsense_is_an_error(
    said: bytes, hostile: Callable[[bytes], LockedBackend]
) -> None:
    with pytest.raises(ModelError):
        hostile(said)


def test_the_control_a_proper_description_is_taken(hostile: Callable[[bytes], LockedBackend]) -> None:
    backend = hostile(_line() + b'{"shapes": [[1]]}\n' + np.float32(7).tobytes())
    backend.invoke()
    assert backend.read_outputs()[0].tolist() == [7.0]


@pytest.mark.parametrize(
    "answer", [b'{"shapes": [[1], [1]]}\n', b'{"shapes": [["x"]]}\n', b'{"shapes": 3}\n', b"{}\n"]
)
def test_an_answer_of_another_form_is_an_error(
    answer: bytes, hostile: Callable[[bytes], LockedBackend]
) -> None:
    with pytest.raises(ModelError, match="gave"):
        hostile(_line() + answer).invoke()


def test_silence_has_an_end(
    hostile: Callable[[bytes], LockedBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = hostile(_line())
    monkeypatch.setattr(locked_backend, "_TIMEOUT_S", 0.2)
    with pytest.raises(ModelError, match="busy for more than"):
        backend.invoke()


@pytest.mark.parametrize("kind", ["no archive", "packed", "objects"])
def test_arrays_that_a_loader_should_not_have_written_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    if kind == "no archive":
        path.write_bytes(b"PK\x03\x04")
    elif kind == "packed":
        np.savez_compressed(path, a=np.zeros(1 << 20))
    else:
        np.savez(path, a=np.array([print], dtype=object))
    with pytest.raises(ModelError, match="loader of model"):
        read_arrays(path, "model")


def test_the_control_plain_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "arrays.npz", np.arange(3), np.arange(2))
    assert [array.tolist() for array in read_arrays(tmp_path / "arrays.npz", "m").values()] == [
        [0, 1, 2],
        [0, 1],
    ]


def test_a_caller_with_more_than_a_thousand_open_files_is_answered(marker_onnx: Path) -> None:
    with Path("/dev/null").open("rb") as one:
        held = [os.dup(one.fileno()) for _ in range(1100)]
    try:
        backend = LockedBackend(marker_onnx)
        assert backend.input == open_backend(marker_onnx).input
        backend.close()
    finally:
        for descriptor in held:
            os.close(descriptor)
