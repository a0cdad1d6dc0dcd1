"""``edgepose.toml`` of a project: where its deployments go when the command line names no place."""

from __future__ import annotations

from pathlib import Path

from edgepose.spec.records import Record, read_toml

PROJECT_FILE = Path("edgepose.toml")


class DeployTarget(Record, frozen=True, kw_only=True):
    """``[target]``; at most one of the three.

    Attributes:
        host: As ``--host``.
        root: As ``--root``, relative to the file.
        inventory: As ``--inventory``, relative to the file.
    """

    host: str | None = None
    root: str | None = None
    inventory: str | None = None

    def __post_init__(self) -> None:
        named = [name for name in ("host", "root", "inventory") if getattr(self, name) is not None]
        if len(named) != 1:
            raise ValueError(f"expected one of host, root, inventory, found {', '.join(named) or 'none'}")


class ProjectFile(Record, frozen=True, kw_only=True):
    """The whole file.

    Attributes:
        target: Where deployments go; None leaves it to the command line.
    """

    target: DeployTarget | None = None


def project_target(path: Path = PROJECT_FILE) -> DeployTarget | None:
    """The target of the project in the working folder, or None.

    Raises:
        ConfigError: The file is wrong.
    """
    return read_toml(path, ProjectFile).target if path.is_file() else None
