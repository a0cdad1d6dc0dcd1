"""Every intermediate tensor of a TFLite model, by name."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgepose.runtime.backends.litert_runtime import import_runtime

Result = TypeVar("Result")


class TfliteTensors:
    """A TFLite model that keeps all its tensors.

    Args:
        path: The file, which loads (it was opened by a backend before).
    """

    channel_axis = -1

    def __init__(self, path: Path) -> None:
        module, _ = import_runtime()
        with warnings.catch_warnings():
            # The runtime warns that keeping all tensors costs memory; that is the purpose.
            warnings.simplefilter("ignore", UserWarning)
            self._interpreter = module.Interpreter(
                model_path=os.fspath(path), num_threads=1, experimental_preserve_all_tensors=True
            )
        # The ops as the file has them: once memory is planned, delegates stand among them.
        self._op_of_index = {
            int(index): str(op["op_name"])
            for op in self._interpreter._get_ops_details()
            for index in op["outputs"]
        }
        self._interpreter.allocate_tensors()
        tensors = self._interpreter.get_tensor_details()
        self.holds_integers = any(_is_quantized(details) for details in tensors)
        self._details: dict[str, dict[str, Any]] = {
            str(details["name"]): details for details in tensors if int(details["index"]) in self._op_of_index
        }
        image = self._interpreter.get_input_details()[0]
        self._input_index, self.input_name = int(image["index"]), str(image["name"])

    def op_of(self, name: str) -> str:
        """Name of the op that writes a tensor."""
        return self._op_of_index[int(self._details[name]["index"])]

    def run(self, values: NDArray[Any]) -> None:
        """Runs the model and keeps every tensor until the next run."""
        self._interpreter.set_tensor(self._input_index, values)
        self._interpreter.invoke()

    def names(self) -> list[str]:
        """The float and the quantized tensors, in the order of the ops."""
        return [name for name, details in self._details.items() if _is_real_valued(details)]

    def tensor(self, name: str) -> NDArray[np.float32]:
        """A tensor of the last run, as real values."""
        details = self._details[name]
        return _real(self._interpreter.get_tensor(int(details["index"])), details)

    def look_at(self, name: str, look: Callable[[NDArray[np.float32]], Result]) -> Result:
        """Lets ``look`` read a tensor in place; it must not keep the array."""
        details = self._details[name]
        # The view must not outlive this call: LiteRT refuses to invoke while one exists.
        return look(_real(self._interpreter.tensor(int(details["index"]))(), details))


def _is_quantized(details: dict[str, Any]) -> bool:
    """Whether a tensor, stored or computed, stands for real values by integers."""
    return bool(len(details["quantization_parameters"]["scales"]) and details["dtype"] != np.float32)


def _is_real_valued(details: dict[str, Any]) -> bool:
    quantized = len(details["quantization_parameters"]["scales"]) == 1
    return bool(quantized or np.issubdtype(details["dtype"], np.floating)) and 0 not in details["shape"]


def _real(values: NDArray[Any], details: dict[str, Any]) -> NDArray[np.float32]:
    parameters = details["quantization_parameters"]
    if len(parameters["scales"]) == 0:
        return values.astype(np.float32, copy=False)
    shifted = values.astype(np.float32) - np.float32(parameters["zero_points"][0])
    return np.asarray(shifted * np.float32(parameters["scales"][0]), np.float32)
