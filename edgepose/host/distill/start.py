"""Weights to start from: those of an earlier student of the same network."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.sources.keras_process import read_arrays, run_keras
from edgepose.inference.model_file import detect_format


def weights_of(path: Path) -> list[NDArray[np.generic]]:
    """All weights of a ``model.keras`` that ``edgepose distill`` wrote.

    Args:
        path: The file. Its input size does not matter: convolutions fit every size.

    Raises:
        ConfigError: The file is not there.
        ModelError: It is no Keras 3 model, or one that brings code of its own.
    """
    if detect_format(path) != "keras":
        raise ModelError(f"{path} is no .keras file.", "--start takes the model.keras of an earlier run.")
    try:
        with TemporaryDirectory(prefix="edgepose-") as folder:
            stored = Path(folder) / "weights.npz"
            run_keras("weights", path, outputs=(stored,))
            return list(read_arrays(stored, path.name).values())
    except ModelError as problem:
        first = str(problem).strip().splitlines()[0]
        raise ModelError(
            f"Keras cannot read {path}: {first}", "--start takes the model.keras of an earlier run."
        ) from problem


def require_same_network(
    found: list[NDArray[np.generic]], expected: list[NDArray[np.generic]], path: Path
) -> None:
    """Refuses weights of another network.

    Raises:
        ModelError: Number or shapes differ.
    """
    shapes, wanted = [array.shape for array in found], [array.shape for array in expected]
    if shapes != wanted:
        raise ModelError(
            f"{path} holds another network: {len(shapes)} arrays of {_count(found)} numbers, expected "
            f"{len(wanted)} of {_count(expected)}.",
            "--start takes the model.keras of the same --student.",
        )


def _count(arrays: list[NDArray[np.generic]]) -> int:
    return sum(array.size for array in arrays)
