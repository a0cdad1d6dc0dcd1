"""Starts the workers of this host, passes on what they say, and ends all when one is lost.

The engine's own answer to a lost process is to abort the others with a stack trace. A supervisor outside
of the engine turns that, and a kill, into an error that says what happened and what to do.
"""

from __future__ import annotations

import importlib.util
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

import msgspec

from edgepose.errors import ConfigError, DeviceError, EdgeposeError, MissingDependencyError, ModelError
from edgepose.host.distill.distillation import distil, prepare_samples
from edgepose.host.distill.peers import Share
from edgepose.host.distill.persons import ImageSource
from edgepose.host.distill.request import DistillationRequest, Observers
from edgepose.host.distill.team import Team, WorkerEvent, WorkerTask, decoded_event, encoded
from edgepose.records.distillation_report import DistillationReport
from edgepose.records.files import open_growing
from edgepose.records.record import read_json
from edgepose.sandbox.python_child import start_python

_FAMILIES: dict[int, type[EdgeposeError]] = {
    family.exit_code: family for family in (ConfigError, MissingDependencyError, ModelError, DeviceError)
}
_POLL_S = 0.2
WORKER_MODULE = "edgepose.host.distill.worker"


@dataclass(frozen=True, eq=False)
class _Worker:
    """One process under supervision."""

    rank: int
    process: subprocess.Popen[bytes]
    log: Path
    reader: threading.Thread


_Events = queue.Queue[tuple[int, WorkerEvent]]


def distil_with(
    request: DistillationRequest, team: Team | None, observers: Observers
) -> DistillationReport | None:
    """Distils in this process where there is no team, else together with it.

    Raises:
        EdgeposeError: See ``distil`` and ``distil_together``.
    """
    return distil(request, observers) if team is None else distil_together(request, team, observers)


def distil_together(
    request: DistillationRequest, team: Team, observers: Observers | None = None
) -> DistillationReport | None:
    """Distils with several processes, here or on several hosts, as one process would.

    Returns:
        The record; None on a host that does not have rank 0, which alone writes.

    Raises:
        ConfigError: Data or options cannot be used, or differ between the workers.
        MissingDependencyError: JAX, Keras or TensorFlow is not installed.
        ModelError: The teacher is damaged, training diverged, or the conversion damaged the student.
        DeviceError: A worker was lost; the last checkpoint is whole.
    """
    observers = observers or Observers()
    if importlib.util.find_spec("jax") is None:
        raise MissingDependencyError(
            "Training with several workers needs JAX.", "Run: pip install 'edgepose[cluster]'"
        )
    Share(0, team.count).places(request.batch_size)
    if not team.leads and request.cache is None:
        # On a file system that the hosts share, two of them must not fill one folder.
        request = replace(request, cache=request.output / "cache" / f"worker-{team.ranks_here[0]}")
    # Worker 0 will say what it found.
    prepare_samples(request, Observers(reading=observers.reading) if team.leads else observers)
    if len(team.ranks_here) < team.count:
        observers.say(f"worker {team.ranks_here[0]} of {team.count}: meeting at {team.addresses[0]}")
    supervise(request, team, observers)
    if not team.leads:
        return None
    return read_json(request.output / "distillation.json", DistillationReport)


def supervise(
    request: DistillationRequest, team: Team, observers: Observers, module: str = WORKER_MODULE
) -> None:
    """Runs the workers of this host to their end.

    Raises:
        EdgeposeError: Of the family of the worker that failed; a ``DeviceError`` where one was lost.
    """
    events: _Events = queue.Queue()
    with ExitStack() as running:
        workers = [
            running.enter_context(_running_worker(_task(request, team, rank), module, team, events))
            for rank in team.ranks_here
        ]
        failures: dict[int, WorkerEvent] = {}
        while True:
            _pass_on(events, observers, failures)
            codes = {worker.rank: worker.process.poll() for worker in workers}
            if all(code == 0 for code in codes.values()):
                return
            lost = [worker for worker in workers if codes[worker.rank] not in {None, 0}]
            if lost:
                for worker in lost:
                    worker.reader.join()
                _pass_on(events, observers, failures)
                raise _error_of(lost, failures, request)


def _pass_on(events: _Events, observers: Observers, failures: dict[int, WorkerEvent]) -> None:
    """Waits a moment for events, then handles all that are there."""
    timeout_s: float | None = _POLL_S
    while True:
        try:
            rank, event = events.get(timeout=timeout_s) if timeout_s else events.get_nowait()
        except queue.Empty:
            return
        timeout_s = None
        if event.line is not None:
            observers.say(event.line)
        if event.progress is not None:
            observers.training(*event.progress)
        if event.failure is not None:
            failures[rank] = event


def _error_of(
    lost: list[_Worker], failures: dict[int, WorkerEvent], request: DistillationRequest
) -> EdgeposeError:
    """The error to show: the cause rather than its consequences in the other workers."""
    worker = min(lost, key=lambda one: _remoteness(one, failures))
    kept = _checkpoint_text(request.output)
    event = failures.get(worker.rank)
    if event is not None and event.failure is not None:
        message, hint = event.failure
        family = _FAMILIES.get(event.exit_code, EdgeposeError)
        return family(message, kept if family is DeviceError else hint)
    code = worker.process.returncode
    if code >= 0:
        return EdgeposeError(f"Worker {worker.rank} ended with exit code {code}.", f"See {worker.log}.")
    name = signal.Signals(-code).name
    why = "the engine does so when another worker stays away, " if name == "SIGABRT" else ""
    return DeviceError(f"Worker {worker.rank} was ended by {name} ({why}see {worker.log}).", kept)


def _remoteness(worker: _Worker, failures: dict[int, WorkerEvent]) -> int:
    event, code = failures.get(worker.rank), worker.process.returncode
    if event is not None:
        return 0 if event.exit_code != DeviceError.exit_code else 2
    return 3 if code == -signal.SIGABRT else 1


def _checkpoint_text(output: Path) -> str:
    files = sorted((output / "checkpoints").glob("step-*.npz"))
    if not files:
        return "Start all workers again with the same command; there is no checkpoint here yet."
    return f"{files[-1].name} is whole: start all workers again with the same command, they go on from there."


def _task(request: DistillationRequest, team: Team, rank: int) -> WorkerTask:
    return WorkerTask(
        request=_with_absolute_paths(request),
        coordinator=team.addresses[0],
        count=team.count,
        rank=rank,
        join_timeout_s=team.join_timeout_s,
    )


def _with_absolute_paths(request: DistillationRequest) -> DistillationRequest:
    """A worker's working folder is another one."""

    def absolute(value: object) -> object:
        if isinstance(value, tuple):
            return tuple(absolute(part) for part in value)
        if isinstance(value, ImageSource):
            folder, labels = value.folder.absolute(), value.annotations
            return ImageSource(folder, None if labels is None else labels.absolute())
        return value.absolute() if isinstance(value, Path) else value

    changes: dict[str, Any] = {one.name: absolute(getattr(request, one.name)) for one in fields(request)}
    return replace(request, **changes)


@contextmanager
def _running_worker(task: WorkerTask, module: str, team: Team, events: _Events) -> Iterator[_Worker]:
    log = task.request.output / f"worker-{task.rank}.log"
    receiving, sending = os.pipe()
    try:
        with os.fdopen(open_growing(log), "wb") as written:
            process = start_python(
                module,
                changes=_environment(team),
                stdin=subprocess.PIPE,
                stdout=written,
                stderr=subprocess.STDOUT,
                pass_fds=(sending,),
            )
    except OSError as problem:
        os.close(receiving)
        raise ConfigError(f"Cannot start worker {task.rank}: {problem.strerror}.") from problem
    finally:
        os.close(sending)
    reader = threading.Thread(target=_read, args=(task.rank, os.fdopen(receiving, "rb"), events), daemon=True)
    reader.start()
    try:
        _give(process, msgspec.structs.replace(task, events_fd=sending))
        yield _Worker(task.rank, process, log, reader)
    finally:
        process.kill()
        process.communicate()


def _give(process: subprocess.Popen[bytes], task: WorkerTask) -> None:
    # The pipe stays open: its end tells the worker that its supervisor is gone.
    if process.stdin is not None:
        process.stdin.write(encoded(task))
        process.stdin.flush()


def _environment(team: Team) -> dict[str, str]:
    environment = {"KERAS_BACKEND": "jax"}
    environment["TF_CPP_MIN_LOG_LEVEL"] = os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2")
    if len(team.ranks_here) > 1:
        # Several processes cannot each own all accelerators of one machine.
        environment["JAX_PLATFORMS"] = "cpu"
    return environment


def _read(rank: int, stream: IO[bytes], events: _Events) -> None:
    with stream:
        for line in stream:
            events.put((rank, decoded_event(line)))
