"""Which tools there are and where their environments live."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.trust.digests import sha256_of_file

_LOCKS = Path(__file__).parent
# Written last, so that an installation that broke off is never taken for a good one.
STAMP_NAME = "edgepose-lock-sha256"


@dataclass(frozen=True)
class Tool:
    """A tool with its own environment.

    Attributes:
        name: What ``edgepose tools install`` takes.
        lock: Requirements with exact versions and hashes.
        pythons: Python versions that the pins work with.
    """

    name: str
    lock: Path
    pythons: tuple[tuple[int, int], ...]


TOOLS = {
    "onnx2tf": Tool("onnx2tf", _LOCKS / "onnx2tf-1.29.24.lock.txt", ((3, 11), (3, 12))),
}


def find_tool(name: str) -> Tool:
    """Returns a tool.

    Raises:
        ConfigError: There is no such tool.
    """
    if name not in TOOLS:
        raise ConfigError(f"There is no tool '{name}'; expected one of {', '.join(TOOLS)}.")
    return TOOLS[name]


def tool_folder(tool: Tool) -> Path:
    """Where its environment lives: ``EDGEPOSE_TOOLS_DIR``, else the user's cache folder."""
    chosen = os.environ.get("EDGEPOSE_TOOLS_DIR")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    # What is started from there has another working folder.
    return ((Path(chosen) if chosen else cache / "edgepose" / "tools") / tool.name).absolute()


def is_current(tool: Tool) -> bool:
    """Whether its environment is complete and made from this very lock file."""
    stamp = tool_folder(tool) / STAMP_NAME
    return stamp.is_file() and stamp.read_text(encoding="ascii").strip() == sha256_of_file(tool.lock)


def tool_python(name: str) -> Path:
    """The Python of a tool's environment.

    Raises:
        ConfigError: There is no such tool.
        MissingDependencyError: It is not installed, or from an older lock file.
    """
    tool = find_tool(name)
    if not is_current(tool):
        raise MissingDependencyError(
            f"{name} is not prepared in {tool_folder(tool)}.", f"Run: edgepose tools install {name}"
        )
    return tool_folder(tool) / "bin" / "python"
