"""One worker of a team: a process of its own, because the engine ends processes when another one is lost.

Usage: python -m edgepose.host.distill.worker, with a task on standard input, which stays open. When it
closes, the supervisor is gone and the worker ends.
"""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable

from edgepose.errors import DeviceError, EdgeposeError
from edgepose.host.distill.distillation import distil, follow
from edgepose.host.distill.request import Observers
from edgepose.host.distill.team import WorkerEvent, WorkerTask, decoded_task, encoded

Work = Callable[[WorkerTask], None]


def main(work: Work | None = None) -> None:
    """Does what the task says, and tells the supervisor when that fails."""
    task = decoded_task(_first_line())
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    try:
        (work or _distil)(task)
    except EdgeposeError as error:
        _fail(task, error)
    except Exception as error:  # noqa: BLE001 - told apart below; anything unknown is a bug, with traceback
        if not _is_of_engine(error):
            traceback.print_exc()
            os._exit(1)
        _fail(task, _engine_error(task.rank, error))


def _distil(task: WorkerTask) -> None:
    from edgepose.host.distill.jax_peers import join, require_fitting_batch

    peers = join(task.coordinator, task.count, task.rank, task.join_timeout_s)
    require_fitting_batch(task.request.batch_size)
    if task.rank != 0:
        follow(task.request, peers)
        return
    observers = Observers(
        say=lambda line: send(task, WorkerEvent(line=line)),
        training=lambda done, total: send(task, WorkerEvent(progress=(done, total))),
    )
    distil(task.request, observers, peers)


def _is_of_engine(error: Exception) -> bool:
    """Whether JAX or its exchange failed: a reset link comes as a ValueError from jitted collectives."""
    name = type(error).__name__
    return name == "JaxRuntimeError" or (name == "ValueError" and "Gloo" in str(error))


def _engine_error(rank: int, error: Exception) -> DeviceError:
    first = str(error).splitlines()[0]
    return DeviceError(f"Worker {rank} cannot go on, another worker or a device failed: {first}")


def _fail(task: WorkerTask, error: EdgeposeError) -> None:
    traceback.print_exc()
    send(task, WorkerEvent(failure=(error.message, error.hint), exit_code=error.exit_code))
    # Not sys.exit: at a regular end JAX would wait for the others.
    sys.stderr.flush()
    os._exit(error.exit_code)


def send(task: WorkerTask, event: WorkerEvent) -> None:
    """Tells the supervisor."""
    os.write(task.events_fd, encoded(event))


def _first_line() -> bytes:
    # os.read instead of sys.stdin: a thread that waits in sys.stdin blocks the end of the interpreter.
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            raise EOFError("the supervisor closed the pipe before it gave a task")
        line += part
    return line


def _end_with_supervisor() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
