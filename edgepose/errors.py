"""Every error that edgepose raises on purpose.

Each family has an exit code, so that a script can tell a failed gate from a broken download. A message
says what was expected and what was found; the hint says what to do next. Anything else that escapes is
a bug and ends with a traceback and exit code 1.
"""

from __future__ import annotations

from typing import ClassVar


class EdgeposeError(Exception):
    """Base of all expected errors.

    Args:
        message: What was expected and what was found, in one sentence.
        hint: What to do next, in one sentence; empty when the message already says it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".rstrip()


class ConfigError(EdgeposeError):
    """A setting, a spec, a profile or a data set is not usable (exit code 3)."""

    exit_code = 3


class MissingDependencyError(EdgeposeError):
    """An optional package, tool or system library is not installed (exit code 4)."""

    exit_code = 4


class ModelError(EdgeposeError):
    """A model file is corrupt, unsupported or disagrees with its spec (exit code 5)."""

    exit_code = 5


class GateFailedError(EdgeposeError):
    """The model was judged against its budgets and failed (exit code 6): a result, not a bug."""

    exit_code = 6


class TrustError(EdgeposeError):
    """Something could not be verified (exit code 7). Always fails closed."""

    exit_code = 7


class DeployError(EdgeposeError):
    """An installation could not be carried out; the target is as it was (exit code 8)."""

    exit_code = 8


class DeviceError(EdgeposeError):
    """The device, its camera or its accelerator cannot do what is needed (exit code 9)."""

    exit_code = 9
