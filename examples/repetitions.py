"""Counts repetitions of an exercise in the JSON lines of ``edgepose run``: squats, by the angle of the knees.

An angle is that of two limbs at a keypoint, in the picture: 180 degrees is a straight leg. A repetition is
counted when somebody was bent below ``--bent`` and stands above ``--straight`` again; the gap between the two
keeps a trembling keypoint from being counted. A person seen from the front bends their knees towards the
camera, where a picture shows little of the angle: film from the side, or lower ``--straight``.

Nothing of edgepose is imported: lines from a file, a pipe or the socket are all the same.

Usage:
    edgepose run squats.mp4 --output poses.jsonl && python examples/repetitions.py poses.jsonl
    edgepose run 0 --output - | python examples/repetitions.py
    socat -u UNIX-CONNECT:poses.sock - | python examples/repetitions.py --at elbow --bent 70 --straight 140
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Rows of coco17, left and right: before, at and after the bend.
_BENDS = {
    "knee": ((11, 13, 15), (12, 14, 16)),
    "hip": ((5, 11, 13), (6, 12, 14)),
    "elbow": ((5, 7, 9), (6, 8, 10)),
    "shoulder": ((11, 5, 7), (12, 6, 8)),
}
_LEAST_SCORE = 0.3


@dataclass
class Counter:
    """Repetitions of one person.

    Attributes:
        bent_deg: Below it somebody is bent.
        straight_deg: Above it somebody is straight.
        deepest_deg: The smallest angle of each repetition.
    """

    bent_deg: float
    straight_deg: float
    deepest_deg: list[float] = field(default_factory=list)
    _lowest_deg: float | None = None

    def take(self, angle_deg: float) -> bool:
        """Whether this angle ends a repetition."""
        if angle_deg < self.bent_deg:
            self._lowest_deg = angle_deg if self._lowest_deg is None else min(angle_deg, self._lowest_deg)
        elif angle_deg > self.straight_deg and self._lowest_deg is not None:
            self.deepest_deg.append(round(self._lowest_deg, 1))
            self._lowest_deg = None
            return True
        return False


def angle_deg(before: list[float], at: list[float], after: list[float]) -> float:
    """The angle between two limbs that meet ``at`` a keypoint, from 0 to 180.

    Args:
        before: x, y of one limb's other end, in pixels.
        at: Where they meet.
        after: The other limb's other end.
    """
    first = math.atan2(before[1] - at[1], before[0] - at[0])
    second = math.atan2(after[1] - at[1], after[0] - at[0])
    turn = abs(math.degrees(first - second)) % 360
    return min(turn, 360 - turn)


def bend_deg(keypoints: list[list[float]], where: str) -> float | None:
    """The mean angle of the sides that are seen, None where neither is."""
    seen = [
        angle_deg(*(keypoints[row] for row in side))
        for side in _BENDS[where]
        if min(keypoints[row][2] for row in side) >= _LEAST_SCORE
    ]
    return sum(seen) / len(seen) if seen else None


def poses_of(lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each frame's number with each of its persons.

    Raises:
        SystemExit: A line is not what this example reads.
    """
    for line in lines:
        record = json.loads(line)
        if record.get("schema") != "edgepose.poses/1" or record.get("skeleton") != "coco17":
            sys.exit(f"expected edgepose.poses/1 of skeleton coco17, found {line[:60].strip()}")
        for person in record["poses"]:
            yield record["frame"], person


def count(lines: Iterable[str], where: str, bent_deg: float, straight_deg: float) -> dict[int, Counter]:
    """Counts for each track; says each repetition as it ends."""
    counters: dict[int, Counter] = {}
    for frame, person in poses_of(lines):
        angle, track = bend_deg(person["keypoints"], where), person["track_id"] or 0
        counter = counters.setdefault(track, Counter(bent_deg, straight_deg))
        if angle is not None and counter.take(angle):
            done = len(counter.deepest_deg)
            print(f"frame {frame}: person {track}, repetition {done}, {counter.deepest_deg[-1]:.0f} degrees")
    return counters


def main() -> None:
    """Reads lines, prints repetitions."""
    parser = argparse.ArgumentParser(description="Counts repetitions from the JSON lines of edgepose run.")
    parser.add_argument("poses", type=Path, nargs="?", help="POSES.jsonl; standard input by default")
    parser.add_argument("--at", choices=sorted(_BENDS), default="knee")
    parser.add_argument("--bent", type=float, default=110.0, help="degrees")
    parser.add_argument("--straight", type=float, default=150.0, help="degrees")
    options = parser.parse_args()
    if not 0 < options.bent < options.straight < 180:
        parser.error("--bent must be below --straight, both between 0 and 180")
    with options.poses.open() if options.poses else sys.stdin as lines:
        counters = count(lines, options.at, options.bent, options.straight)
    for track, counter in sorted(counters.items()):
        print(f"person {track}: {len(counter.deepest_deg)} repetitions")


if __name__ == "__main__":
    main()
