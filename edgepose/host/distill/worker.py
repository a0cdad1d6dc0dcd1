"""One worker of a team: a process of its own, because the engine ends processes when another one is lost.

Usage: python -m edgepose.host.distill.worker, with an order on standard input, which stays open. When it
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
from edgepose.host.distill.team import WorkerEvent, WorkerOrder, decoded_order, encoded

Work = Callable[[WorkerOrder], None]


def main(work: Work | None = None) -> None:
    """Does what the order says, and tells the supervisor when that fails."""
    order = decoded_order(_first_line())
    threading.Thread(target=_end_with_supervisor, daemon=True).start()
    try:
        (work or _distil)(order)
    except EdgeposeError as error:
        _fail(order, error)
    except Exception as error:  # noqa: BLE001 - told apart below; anything unknown is a bug, with traceback
        if not _is_of_engine(error):
            traceback.print_exc()
            os._exit(1)
        _fail(order, _engine_error(order.rank, error))


def _distil(order: WorkerOrder) -> None:
    from edgepose.host.distill.jax_peers import join, require_fitting_batch

    peers = join(order.coordinator, order.count, order.rank, order.join_timeout_s)
    require_fitting_batch(order.request.batch_size)
    if order.rank != 0:
        follow(order.request, peers)
        return
    observers = Observers(
        say=lambda line: send(order, WorkerEvent(line=line)),
        training=lambda done, total: send(order, WorkerEvent(progress=(done, total))),
    )
    distil(order.request, observers, peers)


def _is_of_engine(error: Exception) -> bool:
    """Whether JAX or its exchange failed: a reset link comes as a ValueError from jitted collectives."""
    name = type(error).__name__
    return name == "JaxRuntimeError" or (name == "ValueError" and "Gloo" in str(error))


def _engine_error(rank: int, error: Exception) -> DeviceError:
    first = str(error).splitlines()[0]
    return DeviceError(f"Worker {rank} cannot go on, another worker or a device failed: {first}")


def _fail(order: WorkerOrder, error: EdgeposeError) -> None:
    traceback.print_exc()
    send(order, WorkerEvent(failure=(error.message, error.hint), exit_code=error.exit_code))
    # Not sys.exit: at a regular end JAX would wait for the others.
    sys.stderr.flush()
    os._exit(error.exit_code)


def send(order: WorkerOrder, event: WorkerEvent) -> None:
    """Tells the supervisor."""
    os.write(order.events_fd, encoded(event))


def _first_line() -> bytes:
    # os.read instead of sys.stdin: a thread that waits in sys.stdin blocks the end of the interpreter.
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 1)
        if not part:
            raise EOFError("the supervisor closed the pipe before it gave an order")
        line += part
    return line


def _end_with_supervisor() -> None:
    while os.read(0, 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
