"""What a keeper is told to watch, and what it and its children say of troubles."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, Literal

from edgepose.device.capture.source_address import SourceAddress, SourceKind
from edgepose.device.capture.supervised.messages import TEXT_BYTES
from edgepose.device.capture.supervised.supervision import CaptureLimits
from edgepose.errors import ConfigError, DeviceError, EdgeposeError, MissingDependencyError
from edgepose.spec.records import Record, from_json, to_json

_FAMILIES: dict[str, type[EdgeposeError]] = {
    "config": ConfigError,
    "missing": MissingDependencyError,
    "device": DeviceError,
}
Family = Literal["config", "missing", "device"]
_CUT = 500


class CaptureOrder(Record, frozen=True, kw_only=True):
    """What to open and how long to wait for it.

    It goes through a pipe: a command line, which everybody on the machine can read, would show a password.

    Attributes:
        kind: What the address names.
        location: The rest of it.
        messages: Descriptor of the pipe to the reader.
        requests: Descriptor of the pipe from the reader.
        memories: Descriptors of two shared memories, used in turns.
        lock: Whether the processes lock themselves in.
        patient: Whether to try for good.
        limits_s: The times of :class:`edgepose.device.capture.supervised.supervision.CaptureLimits` that are
            not its defaults, by name.
    """

    kind: SourceKind
    location: str
    messages: int
    requests: int
    memories: tuple[int, int]
    lock: bool = True
    patient: bool = False
    limits_s: tuple[tuple[str, float], ...] = ()

    def __repr__(self) -> str:
        return f"CaptureOrder({self.address!r})"

    @property
    def address(self) -> SourceAddress:
        """The source."""
        return SourceAddress(self.kind, self.location)

    @property
    def live(self) -> bool:
        """Whether it is a camera."""
        return self.kind != "path"

    def limits(self) -> CaptureLimits:
        """The times.

        Raises:
            ConfigError: One is unknown.
        """
        known = {field.name for field in fields(CaptureLimits)} - {"restarts"}
        chosen: dict[str, Any] = dict(self.limits_s)
        if unknown := chosen.keys() - known:
            raise ConfigError(f"A capture process knows no limit '{min(unknown)}', only {sorted(known)}.")
        limits = CaptureLimits(**chosen)
        return replace(limits, give_up_s=None) if self.patient else limits


class CaptureProblem(Record, frozen=True, kw_only=True):
    """An error on its way from one process to another.

    Attributes:
        family: Of the error.
        message: What was expected and found.
        hint: What to do.
    """

    family: Family
    message: str
    hint: str = ""

    @classmethod
    def of(cls, error: EdgeposeError) -> CaptureProblem:
        """Makes it small enough for a message."""
        families: dict[type[EdgeposeError], Family] = {
            ConfigError: "config",
            MissingDependencyError: "missing",
        }
        return cls(
            family=families.get(type(error), "device"), message=error.message[:_CUT], hint=error.hint[:_CUT]
        )

    def error(self) -> EdgeposeError:
        """The error again."""
        return _FAMILIES[self.family](self.message, self.hint)

    def packed(self) -> bytes:
        """JSON that fits a message."""
        text = to_json(self).encode()
        if len(text) <= TEXT_BYTES:
            return text
        return to_json(CaptureProblem(family=self.family, message=self.message[: _CUT // 4])).encode()


class SourceFacts(Record, frozen=True, kw_only=True):
    """What a source says about itself; see :class:`edgepose.device.capture.frame_source.SourceInfo`."""

    fps: float | None = None
    frame_count: int | None = None


def problem_from(text: bytes) -> CaptureProblem:
    """Reads what another process packed.

    Raises:
        DeviceError: It is none.
    """
    return from_json(text, CaptureProblem, "message of a capture process", DeviceError)
