"""The last stage: who is who, steady keypoints, outputs."""

from __future__ import annotations

import time
from collections.abc import Sequence

from edgepose.device.output.pose_sink import FrameResult, PoseSink
from edgepose.device.pipelining.estimated import Estimated
from edgepose.device.run_summary import RunCounter
from edgepose.device.tracking.one_euro import PoseSmoother
from edgepose.device.tracking.tracker import Tracker


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
