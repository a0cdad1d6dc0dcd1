"""The one interface to a runtime, and what a runtime says about itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Tensor = NDArray[Any]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output tensor of a loaded model.

    Attributes:
        name: Name in the file.
        shape: Static shape.
        dtype: Element type in memory.
        scale: Quantization step, or 0.0 for a tensor that holds real values as they are.
        zero_point: The integer that stands for 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: float = 0.0
    zero_point: int = 0

    def dequantize(self, values: Tensor) -> NDArray[np.float32]:
        """Turns stored values into real ones, float32."""
        if self.scale == 0.0:
            return values.astype(np.float32, copy=False)
        real = values.astype(np.float32)
        real -= np.float32(self.zero_point)
        real *= np.float32(self.scale)
        return real

    def quantize(self, values: NDArray[Any]) -> Tensor:
        """Turns real values into stored ones, rounded and clipped for integer types."""
        if not np.issubdtype(self.dtype, np.integer):
            return values.astype(self.dtype)
        steps = np.round(values / self.scale) + self.zero_point if self.scale else np.round(values)
        limits = np.iinfo(self.dtype)
        stored: Tensor = np.clip(steps, limits.min, limits.max).astype(self.dtype)
        return stored


@dataclass(frozen=True)
class BackendInfo:
    """What really runs the model: measured after loading, not assumed.

    Attributes:
        runtime: Package name of the runtime.
        version: Its version.
        delegate_used: Accelerator path that took ops, or ``none``.
        ops_total: Number of ops in the loaded graph; 0 where the runtime does not tell.
        ops_on_cpu: Ops that the delegate did not take.
        threads: CPU threads given.
        fallback_from: The delegate that was asked for first, where the profile's fallback runs instead.
    """

    runtime: str
    version: str
    delegate_used: str
    ops_total: int
    ops_on_cpu: int
    threads: int
    fallback_from: str | None = None


class Backend(Protocol):
    """A loaded model with one input.

    A backend owns its buffers and is used by one thread at a time.
    """

    @property
    def info(self) -> BackendInfo:
        """What really runs the model."""
        ...

    @property
    def input(self) -> TensorInfo:
        """The input tensor."""
        ...

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The output tensors, in the file's order."""
        ...

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        """Lets ``write`` fill the input tensor in place; it must not keep the array."""
        ...

    def invoke(self) -> None:
        """Runs the model on what ``load_input`` wrote.

        Raises:
            ModelError: The runtime failed.
        """
        ...

    def read_outputs(self) -> tuple[Tensor, ...]:
        """Copies of the output tensors as stored, in the order of ``outputs``."""
        ...


class LoadedModel:
    """What every backend says about the model that it has loaded."""

    _info: BackendInfo
    _input: TensorInfo
    _outputs: tuple[TensorInfo, ...]

    @property
    def info(self) -> BackendInfo:
        """What really runs the model."""
        return self._info

    @property
    def input(self) -> TensorInfo:
        """The input tensor."""
        return self._input

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """The output tensors, in the file's order."""
        return self._outputs


def run_once(backend: Backend, values: Tensor) -> tuple[NDArray[np.float32], ...]:
    """Runs stored input values through a backend; returns real output values."""

    def write(buffer: Tensor) -> None:
        np.copyto(buffer, values.reshape(buffer.shape), casting="no")

    backend.load_input(write)
    backend.invoke()
    return tuple(
        info.dequantize(value) for info, value in zip(backend.outputs, backend.read_outputs(), strict=True)
    )


def real_outputs(backend: Backend) -> dict[str, NDArray[np.float32]]:
    """The outputs of the last run as real values, by name, in the order of ``backend.outputs``."""
    return {
        info.name: info.dequantize(value)
        for info, value in zip(backend.outputs, backend.read_outputs(), strict=True)
    }
