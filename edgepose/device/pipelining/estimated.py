"""What the models found in one frame, on its way to the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgepose.device.capture.frame import Frame
from edgepose.device.pipelining.input_pacing import RateChange
from edgepose.inference.stage_timer import Stage
from edgepose.pose.poses import Poses


@dataclass(frozen=True)
class Estimated:
    """Poses without ids yet.

    Attributes:
        frame: The picture, kept until it was written.
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
