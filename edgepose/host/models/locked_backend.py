"""A foreign model on its runtime in a process that is locked in: a ``Backend`` like any other (ADR 0036).

The process gets input values and gives output values through pipes; what it says about the model is checked
here as anything from outside is.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import weakref
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Any

import numpy as np

from edgepose.errors import ConfigError, DeviceError, EdgeposeError, MissingDependencyError, ModelError
from edgepose.host.models.locked_loader import (
    LoaderTask,
    loader_environment,
    locked_command,
    reason_of,
    refuse_unlocked,
    tail_of,
)
from edgepose.runtime.backend import BackendInfo, LoadedModel, Tensor, TensorInfo
from edgepose.runtime.model_file import load_spec
from edgepose.runtime.open_model import RuntimeOptions
from edgepose.runtime.pipeline import PersonDetector
from edgepose.sandbox.python_child import start_words

_WORKER = "edgepose.host.models.backend_worker"
_FAMILIES: dict[str, type[EdgeposeError]] = {
    family.__name__: family for family in (ConfigError, MissingDependencyError, ModelError, DeviceError)
}
# One answer; models that run on devices take milliseconds.
_TIMEOUT_S = 300.0
_NO_CPU_LIMIT_S = float(1 << 40)
_MOST_LINE_BYTES = 1 << 20
_MOST_TENSOR_BYTES = 1 << 30
_NUMBERS = frozenset("fiub")


class LockedBackend(LoadedModel):
    """Opens a model file as ``open_backend`` does, elsewhere.

    Raises:
        EdgeposeError: As ``open_backend`` raises; a ``ModelError`` where the process ends or says nonsense.
    """

    def __init__(self, path: Path, options: RuntimeOptions | None = None) -> None:
        self._name = path.name
        self._folder = TemporaryDirectory(prefix="edgepose-loader-")
        self._said = TemporaryFile()  # noqa: SIM115 (lives as long as the process)
        threads = (options or RuntimeOptions()).threads
        task = LoaderTask(_WORKER, [str(path.resolve()), str(threads)], path, timeout_s=_NO_CPU_LIMIT_S)
        self._process = start_words(
            locked_command(task),
            cwd=self._folder.name,
            environment=loader_environment(self._folder.name, {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
        )
        self.close = weakref.finalize(self, _end, self._process, self._folder, self._said)
        self._rest = b""
        self._results: tuple[Tensor, ...] = ()
        try:
            described = self._line()
            self._input = _tensor(described["input"], self._name)
            self._outputs = tuple(_tensor(entry, self._name) for entry in described["outputs"])
            self._info = BackendInfo(**described["info"])
        except (KeyError, TypeError, ValueError) as problem:
            self.close()
            raise ModelError(f"The loader of {self._name} described no model: {problem!r}.") from problem
        except BaseException:
            self.close()
            raise
        self._values = np.zeros(self._input.shape, self._input.dtype)

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        """Lets ``write`` fill the input tensor in place."""
        write(self._values)

    def invoke(self) -> None:
        """Runs the model.

        Raises:
            ModelError: The runtime failed, or the process has ended.
        """
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(self._values.data)
                self._process.stdin.flush()
        except (OSError, ValueError) as problem:
            raise self._lost() from problem
        shapes = self._line().get("shapes")
        if not isinstance(shapes, list) or len(shapes) != len(self._outputs):
            raise ModelError(f"The loader of {self._name} gave {shapes!r}, expected the outputs' shapes.")
        results = []
        for info, shape in zip(self._outputs, shapes, strict=True):
            size = _bytes_of(_shape(shape, self._name), info.dtype, self._name)
            results.append(np.frombuffer(self._exactly(size), info.dtype).reshape(shape).copy())
        self._results = tuple(results)

    def read_outputs(self) -> tuple[Tensor, ...]:
        """Copies of the output tensors as stored, in the order of ``outputs``."""
        return tuple(result.copy() for result in self._results)

    def _line(self) -> dict[str, Any]:
        while b"\n" not in self._rest:
            self._rest += self._piece()
            if len(self._rest) > _MOST_LINE_BYTES + _MOST_TENSOR_BYTES:
                raise ModelError(f"The loader of {self._name} says too much.")
        line, _, self._rest = self._rest.partition(b"\n")
        try:
            found = json.loads(line[:_MOST_LINE_BYTES])
        except ValueError as problem:
            raise ModelError(f"The loader of {self._name} says {line[:80]!r}, expected JSON.") from problem
        if not isinstance(found, dict):
            raise ModelError(f"The loader of {self._name} says {line[:80]!r}, expected an object.")
        if "error" in found:
            family = _FAMILIES.get(str(found.get("family")), ModelError)
            raise family(str(found["error"])[:1000], str(found.get("hint", ""))[:1000])
        return found

    def _exactly(self, size: int) -> bytes:
        pieces, have = [self._rest], len(self._rest)
        while have < size:
            pieces.append(self._piece())
            have += len(pieces[-1])
        whole = b"".join(pieces)
        self._rest = whole[size:]
        return whole[:size]

    def _piece(self) -> bytes:
        stream = self._process.stdout
        # poll, not select: a caller may have more than 1,024 files open.
        ready = select.poll()
        if stream is not None:
            ready.register(stream, select.POLLIN)
        if stream is None or not ready.poll(_TIMEOUT_S * 1000):
            self.close()
            raise ModelError(f"{self._name} kept its loader busy for more than {_TIMEOUT_S:.0f} s.")
        piece = os.read(stream.fileno(), 1 << 20)
        if not piece:
            raise self._lost()
        return piece

    def _lost(self) -> EdgeposeError:
        if self._said.closed:
            return ModelError(f"The loader of {self._name} was closed.")
        code, said = self._process.wait(), tail_of(self._said)
        refuse_unlocked(code, said)
        return ModelError(f"The loader of {self._name} ended: {reason_of(code, said)}.")


def open_locked_detector(
    path: Path,
    spec_file: Path | None = None,
    options: RuntimeOptions | None = None,
    score_threshold: float | None = None,
) -> PersonDetector:
    """Opens a person detector as ``open_detector`` does, in a process that is locked in.

    Raises:
        EdgeposeError: As ``load_spec``, ``LockedBackend`` and ``PersonDetector`` raise.
    """
    spec = load_spec(path, spec_file)
    return PersonDetector(LockedBackend(path, options), spec, score_threshold)


def _end(process: subprocess.Popen[bytes], folder: TemporaryDirectory[str], said: IO[bytes]) -> None:
    process.kill()
    process.communicate()
    said.close()
    folder.cleanup()


def _tensor(entry: dict[str, Any], name: str) -> TensorInfo:
    dtype = np.dtype(str(entry["dtype"]))
    if dtype.kind not in _NUMBERS:
        raise ModelError(f"The loader of {name} gave a tensor of type {dtype}, expected numbers.")
    shape = _shape(entry["shape"], name)
    _bytes_of(shape, dtype, name)
    return TensorInfo(str(entry["name"]), shape, dtype, float(entry["scale"]), int(entry["zero_point"]))


def _shape(found: Any, name: str) -> tuple[int, ...]:
    if not isinstance(found, list) or not all(isinstance(size, int) and size >= -1 for size in found):
        raise ModelError(f"The loader of {name} gave the shape {found!r}.")
    return tuple(found)


def _bytes_of(shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> int:
    size = dtype.itemsize
    for length in shape:
        size *= max(length, 0)
    if size > _MOST_TENSOR_BYTES:
        raise ModelError(f"{name} has a tensor of {size} bytes, expected at most {_MOST_TENSOR_BYTES}.")
    return size
