"""A Keras network behind the ``Backend`` interface, so that training is watched on the shipping pipeline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from edgepose.runtime.backend import BackendInfo, Tensor, TensorInfo


class KerasBackend:
    """Runs a Keras model with one picture and one output."""

    def __init__(self, model: Any, output_name: str = "heatmaps") -> None:
        self._model = model
        float32 = np.dtype(np.float32)
        self._input = TensorInfo("image", (1, *model.input_shape[1:]), float32)
        self._output = TensorInfo(output_name, (1, *model.output_shape[1:]), float32)
        self._values = np.zeros(self._input.shape, np.float32)
        self._result: Tensor = np.zeros(self._output.shape, np.float32)

    @property
    def info(self) -> BackendInfo:
        """See ``Backend``."""
        return BackendInfo(f"keras-{keras.backend.backend()}", keras.__version__, "none", 0, 0, 0)

    @property
    def input(self) -> TensorInfo:
        """See ``Backend``."""
        return self._input

    @property
    def outputs(self) -> tuple[TensorInfo, ...]:
        """See ``Backend``."""
        return (self._output,)

    def load_input(self, write: Callable[[Tensor], None]) -> None:
        """See ``Backend``."""
        write(self._values)

    def invoke(self) -> None:
        """See ``Backend``."""
        self._result = np.array(self._model.predict_on_batch(self._values), dtype=np.float32)

    def read_outputs(self) -> tuple[Tensor, ...]:
        """See ``Backend``."""
        return (self._result.copy(),)
