"""What happened on a device."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.device_status import HistoryEvent
from edgepose.spec.records import Record


class DeviceLogs(Record, frozen=True, kw_only=True):
    """``logs --json``.

    Attributes:
        schema: ``edgepose.logs/1``.
        root: The device root.
        history: What happened to it, oldest first.
        service: The service's newest lines in systemd's journal, oldest first; None where there is no journal
            that the user may read.
    """

    schema: Literal["edgepose.logs/1"]
    root: str
    history: tuple[HistoryEvent, ...]
    service: tuple[str, ...] | None
