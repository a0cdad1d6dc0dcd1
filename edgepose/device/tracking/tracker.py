"""The one interface to a tracker."""

from __future__ import annotations

from typing import Protocol

from edgepose.pose.poses import Poses


class Tracker(Protocol):
    """Gives persons ids that last from frame to frame."""

    def update(self, poses: Poses, scene_time_ns: int) -> Poses:
        """Takes the persons of the next frame.

        Args:
            poses: Everybody in the frame.
            scene_time_ns: When the scene looked like this, in nanoseconds from any fixed origin, later
                than at the previous call: the capture time of a live frame, the media time of a file's.

        Returns:
            The same persons in the same order with ``track_ids``; nobody is dropped or added.
        """
        ...
