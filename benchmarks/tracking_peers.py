"""The peers of ``tracking.py``, in an environment of their own; it imports nothing of edgepose.

Reads clips as JSON lines, a list of frames each: ``[[x0, y0, x1, y1, score], ...]``. Writes for each clip and
tracker the ids a frame, -1 for a person whom the tracker gives none, and milliseconds a frame.

Usage: python -I benchmarks/tracking_peers.py FPS < CLIPS.jsonl
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from typing import Any

# As the package has them, and with edgepose's patience: a lost track is kept for its 2 s (60 of the package's
# frames of a 30th) and a person has an id from the first frame on.
_PATIENT = {"lost_track_buffer": 60, "minimum_consecutive_frames": 1}
_CLASSES = {"bytetrack": "ByteTrackTracker", "sort": "SORTTracker", "ocsort": "OCSORTTracker"}
_SETTINGS: dict[str, tuple[str, dict[str, int]]] = {
    **{name: (kind, {}) for name, kind in _CLASSES.items()},
    **{f"{name}_patient": (kind, _PATIENT) for name, kind in _CLASSES.items()},
}


def main() -> None:
    """Follows all clips with all trackers."""
    fps = float(sys.argv[1])
    for line in sys.stdin:
        clip = json.loads(line)
        print(json.dumps({name: _followed(name, clip, fps) for name in _SETTINGS}))


def _followed(name: str, clip: list[list[list[float]]], fps: float) -> dict[str, Any]:
    numpy, supervision = importlib.import_module("numpy"), importlib.import_module("supervision")
    kind, options = _SETTINGS[name]
    tracker = getattr(importlib.import_module("trackers"), kind)(frame_rate=fps, **options)
    ids, spent_ms = [], []
    for frame in clip:
        rows = numpy.array(frame, numpy.float32).reshape(-1, 5)
        # The row's number goes along, because a tracker may give the rows back in another order.
        found = supervision.Detections(
            xyxy=rows[:, :4], confidence=rows[:, 4], class_id=numpy.zeros(len(rows), int),
            data={"row": numpy.arange(len(rows))},
        )  # fmt: skip
        start_ns = time.perf_counter_ns()
        tracked = tracker.update(found)
        spent_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
        of_row = [-1] * len(rows)
        if len(tracked):
            for row, track_id in zip(tracked.data["row"].tolist(), tracked.tracker_id.tolist(), strict=True):
                of_row[row] = int(track_id)
        ids.append(of_row)
    return {"ids": ids, "update_ms": statistics.median(spent_ms)}


if __name__ == "__main__":
    main()
