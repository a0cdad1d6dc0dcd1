"""What holds before anybody works in a device root: it is ours, and what cannot be written is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgepose.device.install.layout import Layout
from edgepose.errors import ConfigError, DeployError


def require_state(layout: Layout) -> None:
    """Refuses a folder in which edgepose never installed anything.

    Raises:
        ConfigError: There is no state.
    """
    if not layout.state.is_file():
        raise ConfigError(
            f"Nothing is installed in {layout.root}.", "Run: edgepose deploy --profile ID --model MODEL"
        )


def refuse_foreign_root(layout: Layout) -> None:
    """Refuses a folder that belongs to something else.

    Raises:
        ConfigError: It holds what edgepose did not make.
    """
    foreign = layout.foreign_entries()
    if foreign:
        named = ", ".join(foreign[:3]) + (" ..." if len(foreign) > 3 else "")
        raise ConfigError(
            f"{layout.root} is not empty and not an edgepose root: it holds {named}.",
            "Give an empty or new folder with --root.",
        )


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turns a full or unwritable disk into an expected error.

    Raises:
        DeployError: Something could not be written.
    """
    try:
        yield
    except OSError as problem:
        where = problem.filename or root
        raise DeployError(
            f"Cannot install into {root}: {problem.strerror} ({where}).",
            "Check its space and permissions; the version before is active as it was.",
        ) from problem
