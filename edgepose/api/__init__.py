"""The public Python API: what `import edgepose` offers, and all of it.

Every other module is private: it may change with any release. The names here change only with a decision
record (docs/adr/0043-public-api.md), and tests/unit/test_public_api.py holds them and their signatures.

What runs here is what runs on a device: the same pipeline, the same loop, the same judgement as the commands.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TypeAlias

from edgepose.errors import ConfigError
from edgepose.trust.builtin_models import find_builtin_models

PathName: TypeAlias = "str | PathLike[str]"


def model_path(model: PathName) -> Path:
    """A path as it is given; a name that is none is looked for among the built-in models.

    Raises:
        ConfigError: There is neither.
        ModelError: The built-in model was changed.
    """
    path = Path(model)
    if path.exists():
        return path
    builtin = find_builtin_models()
    named = {Path(entry.file).stem: entry for entry in builtin.manifest.files}
    entry = named.get(str(model))
    if entry is None:
        raise ConfigError(
            f"There is no file, folder or built-in model '{model}'.",
            f"Built in are {', '.join(sorted(named))}.",
        )
    return builtin.path_of(entry.role, entry.precision)


def optional_path(path: PathName | None) -> Path | None:
    """A path, where there is one."""
    return None if path is None else Path(path)
