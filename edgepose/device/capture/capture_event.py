"""What happened to a camera while it was watched."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.records import Record

CaptureEventKind = Literal["lost", "recovered", "frozen", "size_changed"]


class CaptureEvent(Record, frozen=True, kw_only=True):
    """Something that a live source went through.

    Attributes:
        kind: ``lost`` (no frames any more; it is being opened again), ``recovered`` (frames again),
            ``frozen`` (the same picture again and again), ``size_changed``.
        reason: In words.
        outage_s: How long no frame came, for ``recovered``.
    """

    kind: CaptureEventKind
    reason: str
    outage_s: float | None = None

    def describe(self) -> str:
        """One line for people."""
        return self.reason
