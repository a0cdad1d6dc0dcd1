"""Ready specs for models that people bring along: ``model_specs/*.toml``."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.spec.model_spec import ModelSpec, read_spec
from edgepose.spec.packaged_data import packaged_folder

# A detector is recognized by its digest, so that `--detector yolox_nano.onnx` needs no spec. A pose
# model is not: its spec decides what its accuracy means, so it is always given or inside the file. Only
# BlazePose's is, whose detector leaves it one way to run.
_DETECTOR_DIGESTS = {
    "e8af074932d4ed7e232278e3055cefcdea3edf178874a3694ae292649fb464dd": "yolox_nano",
    "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c": "blazepose_detector",
}
_POSE_DIGESTS = {
    "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f": "blazepose_full",
}


def shipped_spec_paths() -> dict[str, Path]:
    """Name to file of every ready spec, sorted."""
    return {path.stem: path for path in sorted(packaged_folder("model_specs").glob("*.toml"))}


def find_spec(name_or_path: Path) -> ModelSpec:
    """Reads a spec by path, or a ready one by name.

    Raises:
        ConfigError: There is neither, or the file is wrong.
    """
    shipped = shipped_spec_paths()
    if str(name_or_path) in shipped and not name_or_path.is_file():
        return read_spec(shipped[str(name_or_path)])
    if name_or_path.exists() or name_or_path.suffix:
        return read_spec(name_or_path)
    raise ConfigError(
        f"Spec '{name_or_path}' is neither a file nor a ready spec; ready are {', '.join(shipped)}."
    )


def known_spec_for(sha256: str) -> ModelSpec | None:
    """The ready spec of a file that is known by its digest, or None."""
    name = _DETECTOR_DIGESTS.get(sha256) or _POSE_DIGESTS.get(sha256)
    return read_spec(shipped_spec_paths()[name]) if name else None
