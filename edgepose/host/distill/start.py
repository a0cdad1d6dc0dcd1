"""Weights to start from: those of an earlier student of the same network."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ModelError
from edgepose.host.sources.keras_config import refuse_code_in_keras


def weights_of(path: Path) -> list[NDArray[np.generic]]:
    """All weights of a ``model.keras`` that ``edgepose distill`` wrote.

    Args:
        path: The file. Its input size does not matter: convolutions fit every size.

    Raises:
        ConfigError: The file is not there.
        ModelError: It is no Keras 3 model, or one that brings code of its own.
    """
    refuse_code_in_keras(path)
    try:
        return list(keras.saving.load_model(path, compile=False).get_weights())
    except (OSError, ValueError, TypeError, KeyError) as problem:
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
