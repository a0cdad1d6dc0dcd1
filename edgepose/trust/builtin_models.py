"""Opens the built-in models: only files whose digest is the manifest's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgepose.errors import ConfigError, ModelError
from edgepose.records.bundle_manifest import BuiltinManifest, BuiltinRole
from edgepose.records.files import packaged_folder
from edgepose.records.record import from_json
from edgepose.trust.digests import sha256_of_file

FOLDER_NAME = "builtin_models"
MANIFEST_NAME = "manifest.json"


@dataclass(frozen=True)
class BuiltinModels:
    """Where the built-in models are.

    Attributes:
        folder: Their folder.
        manifest: What they are.
    """

    folder: Path
    manifest: BuiltinManifest

    def path_of(self, role: BuiltinRole, precision: Literal["float32", "int8"]) -> Path:
        """The file of a role and precision, its digest checked.

        Raises:
            ConfigError: There is none.
            ModelError: The file is not the one that the manifest names.
        """
        for entry in self.manifest.files:
            if (entry.role, entry.precision) == (role, precision):
                path = self.folder / entry.file
                if not path.is_file() or sha256_of_file(path) != entry.sha256:
                    raise ModelError(
                        f"The built-in model {entry.file} is missing or was changed.", "Reinstall edgepose."
                    )
                return path
        raise ConfigError(f"There is no built-in {role} model in {precision}.")


def find_builtin_models(folder: Path | None = None) -> BuiltinModels:
    """Reads the manifest.

    Raises:
        ConfigError: The folder or its manifest is not there or damaged.
    """
    home = folder or packaged_folder(FOLDER_NAME)
    path = home / MANIFEST_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise ConfigError(f"Cannot read {path}.", "Reinstall edgepose.") from problem
    return BuiltinModels(home, from_json(text, BuiltinManifest, str(path), ConfigError))
