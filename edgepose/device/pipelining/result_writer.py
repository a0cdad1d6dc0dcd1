"""How results come to the outputs: at once, or by a thread while the models go on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from edgepose.device.pipelining.estimated import Estimated
from edgepose.device.pipelining.hand_over import HandOver

# One result may wait while another is written: a slow line does not stop the models, a slow disk does.
_WAITING = 1
_SETTLE_LIMIT_S = 10.0

Write = Callable[[Estimated], None]


class ResultWriter(Protocol):
    """Takes results in order."""

    def give(self, result: Estimated) -> None:
        """Takes the next result.

        Raises:
            EdgeposeError: An output failed, perhaps at an earlier result.
        """
        ...

    def finish(self) -> None:
        """Returns when everything that was given is written.

        Raises:
            EdgeposeError: An output failed.
        """
        ...

    def settle(self) -> None:
        """As ``finish`` after a failure elsewhere, which is the one to be told: raises nothing."""
        ...


class DirectWriter:
    """Writes at once.

    Args:
        write: Takes a result to the outputs.
    """

    def __init__(self, write: Write) -> None:
        self._write = write

    def give(self, result: Estimated) -> None:
        """Writes the result.

        Raises:
            EdgeposeError: An output failed.
        """
        self._write(result)

    def finish(self) -> None:
        """Everything is written already."""

    def settle(self) -> None:
        """Everything is written already."""


class ThreadedWriter:
    """Writes in a thread of its own, in order; after a failure nothing more.

    Args:
        write: Takes a result to the outputs, called by that thread alone.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._results: HandOver[Estimated] = HandOver(_WAITING)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="results", daemon=True)
        self._thread.start()

    def give(self, result: Estimated) -> None:
        """Hands the result over; waits where the outputs are slower than the models.

        Raises:
            EdgeposeError: An output failed at an earlier result.
        """
        if not self._results.give(result):
            self.finish()

    def finish(self) -> None:
        """Waits until the last result is written.

        Raises:
            EdgeposeError: An output failed.
        """
        self._results.end()
        self._thread.join()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def settle(self) -> None:
        """Waits for what was given before, but not for an output that hangs."""
        self._results.end()
        self._thread.join(_SETTLE_LIMIT_S)

    def _write_all(self) -> None:
        try:
            while (result := self._results.take()) is not None:
                self._write(result)
        except BaseException as problem:  # noqa: BLE001 (raised again, in the thread that gives)
            self._failure = problem
        finally:
            self._results.end()
