"""Which package brings the LiteRT interpreter here."""

from __future__ import annotations

import importlib
from typing import Any

from edgepose.errors import MissingDependencyError

_RUNTIMES = (
    ("ai_edge_litert.interpreter", "ai-edge-litert"),
    ("tflite_runtime.interpreter", "tflite-runtime"),
)


def import_runtime() -> tuple[Any, str]:
    """The interpreter's module and the name of its package.

    Raises:
        MissingDependencyError: No LiteRT package is installed.
    """
    for module_name, package in _RUNTIMES:
        try:
            return importlib.import_module(module_name), package
        except ModuleNotFoundError:
            continue
    raise MissingDependencyError(
        "No LiteRT runtime is installed; a .tflite model needs ai-edge-litert (or tflite-runtime).",
        "Run: pip install ai-edge-litert",
    )
