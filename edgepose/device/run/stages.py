"""From what the models found to the outputs: track, smooth, count, write; beside the models or at once."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from edgepose.device.capture.frame_source import Frame
from edgepose.device.events import RateChange
from edgepose.device.output.pose_sink import FrameResult, PoseSink
from edgepose.device.run.smoothing import PoseSmoother
from edgepose.device.run.summary import RunCounter
from edgepose.device.run.tracking import Tracker
from edgepose.pose.poses import Poses
from edgepose.runtime.pipeline import Stage

Item = TypeVar("Item")


class HandOver(Generic[Item]):
    """A bounded queue between one giver and one taker that either may end.

    Args:
        capacity: Things that may lie in between.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[Item] = deque()
        self._change = threading.Condition()
        self._ended = False

    def give(self, item: Item) -> bool:
        """Waits for room.

        Returns:
            False where the hand-over was ended: the item was not taken.
        """
        with self._change:
            self._change.wait_for(lambda: self._ended or len(self._items) < self._capacity)
            if self._ended:
                return False
            self._items.append(item)
            self._change.notify_all()
            return True

    def take(self, wait_s: float | None = None) -> Item | None:
        """Waits for the next item.

        Args:
            wait_s: For so long; None waits until there is one or the hand-over was ended.

        Returns:
            The item, also one that was given before the end; None: nothing came, or nothing will.
        """
        with self._change:
            self._change.wait_for(lambda: bool(self._items) or self._ended, timeout=wait_s)
            if not self._items:
                return None
            item = self._items.popleft()
            self._change.notify_all()
            return item

    def end(self) -> None:
        """Nothing more is given; what lies in between can still be taken."""
        with self._change:
            self._ended = True
            self._change.notify_all()


@dataclass(frozen=True)
class Estimated:
    """Poses without ids yet.

    Attributes:
        frame: The image, kept until it was written.
        poses: The persons worth reporting.
        stages_ms: Time of each stage.
        scene_time_ns: When the scene looked like this.
        skipped: Frames left out on purpose before this one.
        rate_change: What was decided after the frame before.
    """

    frame: Frame
    poses: Poses
    stages_ms: Mapping[Stage, float]
    scene_time_ns: int
    skipped: int = 0
    rate_change: RateChange | None = None


class ResultStage:
    """Tracks, smooths, counts and writes one frame after the other.

    Args:
        tracker: Gives ids.
        smoother: None shows the keypoints as they were seen.
        sinks: Take the results, in this order.
    """

    def __init__(
        self,
        tracker: Tracker,
        smoother: PoseSmoother | None,
        sinks: Sequence[PoseSink],
    ) -> None:
        self.counter = RunCounter()
        self._tracker = tracker
        self._smoother = smoother
        self._sinks = sinks

    def write(self, estimated: Estimated) -> None:
        """Takes the next frame.

        Raises:
            EdgeposeError: An output failed.
        """
        result = self._result(estimated)
        for sink in self._sinks:
            sink.write(result)
        self.counter.count(result, estimated.skipped)

    def _result(self, estimated: Estimated) -> FrameResult:
        frame, time_ns = estimated.frame, estimated.scene_time_ns
        tracked = self._tracker.update(estimated.poses, time_ns)
        shown = tracked if self._smoother is None else self._smoother.update(tracked, time_ns)
        return FrameResult(
            frame=frame,
            poses=shown,
            latency_ms=(time.monotonic_ns() - frame.timestamp_ns) / 1e6,
            stages_ms=estimated.stages_ms,
            scene_time_ns=time_ns,
            measured=None if self._smoother is None else tracked,
            rate_changes=() if estimated.rate_change is None else (estimated.rate_change,),
        )


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
