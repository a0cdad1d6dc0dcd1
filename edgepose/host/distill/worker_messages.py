"""What a supervisor and its workers tell each other: JSON lines over pipes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from edgepose.host.distill.request import DistillationRequest
from edgepose.spec.records import Record


class WorkerOrder(Record, frozen=True):
    """What a worker is to do.

    Attributes:
        request: What to distil.
        coordinator: HOST:PORT of rank 0.
        count: Number of workers.
        rank: Which one this is.
        join_timeout_s: How long to wait for the others.
        events_fd: Where to write events.
    """

    request: DistillationRequest
    coordinator: str
    count: int
    rank: int
    join_timeout_s: int
    events_fd: int = -1


class WorkerEvent(Record, frozen=True):
    """What happened; the field that is set says what.

    Attributes:
        line: A line of text.
        progress: (steps done, steps in all).
        failure: Message and hint of an error that ends the worker.
        exit_code: Of the failure's family.
    """

    line: str | None = None
    progress: tuple[int, int] | None = None
    failure: tuple[str, str] | None = None
    exit_code: int = 1


def encoded(message: WorkerOrder | WorkerEvent) -> bytes:
    """One line."""
    return msgspec.json.encode(message, enc_hook=_from_path) + b"\n"


def decoded_order(line: bytes) -> WorkerOrder:
    """Reads an order."""
    return msgspec.json.decode(line, type=WorkerOrder, dec_hook=_to_path)


def decoded_event(line: bytes) -> WorkerEvent:
    """Reads an event."""
    return msgspec.json.decode(line, type=WorkerEvent)


def _from_path(value: Any) -> str:
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(f"{type(value)} has no place in a message")


def _to_path(kind: type, value: Any) -> Any:
    if issubclass(kind, Path):
        return kind(value)
    raise NotImplementedError(f"{kind} has no place in a message")
