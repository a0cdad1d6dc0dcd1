"""Which processes train together, which of them this call starts, and what they tell each other."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from edgepose.errors import ConfigError
from edgepose.host.distill.request import DistillationRequest
from edgepose.records.record import Record


@dataclass(frozen=True)
class Team:
    """The workers of a run.

    Attributes:
        addresses: HOST:PORT of every worker, in the order of the ranks. The engine listens on the first.
        ranks_here: Those that this call starts.
        join_timeout_s: How long a worker waits for the others to come.
    """

    addresses: tuple[str, ...]
    ranks_here: tuple[int, ...]
    join_timeout_s: int = 600

    @property
    def count(self) -> int:
        """Number of workers."""
        return len(self.addresses)

    @property
    def leads(self) -> bool:
        """Whether rank 0, which writes model and record, is started here."""
        return 0 in self.ranks_here


def requested_team(workers: str | None, rank: int | None, local_workers: int | None) -> Team | None:
    """The team that the options describe.

    Args:
        workers: ``HOST:PORT,HOST:PORT``, the same list on every host.
        rank: Which of them this host is.
        local_workers: So many on this machine, for a try.

    Returns:
        None where nothing but one process is asked for.

    Raises:
        ConfigError: The options contradict each other, an address is malformed or there twice, or the rank
            is not in the list.
    """
    if local_workers is not None:
        if workers is not None or rank is not None:
            raise ConfigError("--local-workers starts all workers here.", "Leave --workers and --rank away.")
        return _local_team(local_workers)
    if workers is None:
        if rank is not None:
            raise ConfigError("--rank says which of the --workers this host is.", "Give --workers, too.")
        return None
    addresses = tuple(part.strip() for part in workers.split(","))
    _check_addresses(addresses)
    if rank is None or not 0 <= rank < len(addresses):
        found = "none was given" if rank is None else f"{rank} was given"
        raise ConfigError(
            f"--rank must be 0 to {len(addresses) - 1}, the place of this host in --workers; {found}."
        )
    return Team(addresses, (rank,))


def _check_addresses(addresses: tuple[str, ...]) -> None:
    for address in addresses:
        host, colon, port = address.rpartition(":")
        if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise ConfigError(f"--workers takes HOST:PORT,HOST:PORT,...; {address!r} is no HOST:PORT.")
    twice = sorted({address for address in addresses if addresses.count(address) > 1})
    if twice:
        raise ConfigError(f"--workers names {twice[0]} twice.", "Every worker needs an address of its own.")
    if len(addresses) < 2:
        raise ConfigError("--workers names one worker only.", "Leave it away to train in one process.")


def _local_team(count: int) -> Team:
    # All sockets are open at once, so that the ports differ.
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        addresses = tuple(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    finally:
        for one in sockets:
            one.close()
    return Team(addresses, tuple(range(count)), join_timeout_s=300)


class WorkerTask(Record, frozen=True):
    """What a worker is to do."""

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


def encoded(message: WorkerTask | WorkerEvent) -> bytes:
    """One line."""
    return msgspec.json.encode(message, enc_hook=_from_path) + b"\n"


def decoded_task(line: bytes) -> WorkerTask:
    """Reads an order."""
    return msgspec.json.decode(line, type=WorkerTask, dec_hook=_to_path)


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
