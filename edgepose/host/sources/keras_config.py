"""Reads a Keras file's configuration as data, and refuses the files that carry code.

Keras files can hold Python bytecode (Lambda layers) and names of any importable function. Keras' own
``safe_mode`` covers the newer of its formats only, so the configuration is judged here before Keras sees
the file.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgepose.errors import MissingDependencyError, ModelError
from edgepose.inference.model_file import detect_format

# Lambda holds bytecode, the dunder names are how Keras writes a lambda down, TFSMLayer loads another file.
_CODE = frozenset({"Lambda", "__lambda__", "TFSMLayer", "JaxLayer", "FlaxLayer", "TorchModuleWrapper"})
_PACKAGES = frozenset({"keras", "tf_keras", "builtins"})


def refuse_code_in_keras(path: Path) -> None:
    """Checks that a Keras file is layers and numbers only.

    Args:
        path: A .keras or .h5 file; a SavedModel has no such configuration and passes.

    Raises:
        ModelError: The file is damaged, holds code or names code outside Keras.
        MissingDependencyError: h5py is not installed.
    """
    model_format = detect_format(path)
    if model_format == "saved_model":
        return
    config = _archive_config(path) if model_format == "keras" else _hdf5_config(path)
    for entry in _objects(config):
        name, module = str(entry.get("class_name")), entry.get("module")
        if name in _CODE:
            raise ModelError(
                f"{path.name} has a {name} layer, which carries code; edgepose never runs that.",
                "Replace it by a plain Keras layer, or export the model to ONNX.",
            )
        if module is not None and str(module).split(".")[0] not in _PACKAGES:
            raise ModelError(
                f"{path.name} needs the class {module}.{name}, which is not part of Keras.",
                "Export the model to ONNX or to a SavedModel.",
            )


def _archive_config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, OSError) as problem:
        raise ModelError(f"{path.name} is a Keras file whose configuration is damaged.") from problem


def _hdf5_config(path: Path) -> Any:
    try:
        import h5py
    except ModuleNotFoundError as problem:
        raise MissingDependencyError(
            f"{path.name} is a Keras HDF5 file and h5py is not installed.",
            "Run: pip install 'edgepose[convert]'",
        ) from problem
    try:
        with h5py.File(path, "r") as stored:
            text = stored.attrs.get("model_config")
            config = None if text is None else json.loads(text)
    except (OSError, ValueError, RuntimeError, RecursionError) as problem:
        raise ModelError(f"{path.name} is an HDF5 file that is truncated or damaged.") from problem
    if config is None:
        raise ModelError(
            f"{path.name} is an HDF5 file without model_config: weights alone, or no Keras model.",
            "Save the whole model, not only its weights.",
        )
    return config


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object, however deep."""
    pending = [config]
    while pending:
        entry = pending.pop()
        if isinstance(entry, dict):
            if "class_name" in entry:
                yield entry
            pending.extend(entry.values())
        elif isinstance(entry, list):
            pending.extend(entry)
