"""Draws poses on a copy of a picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgepose.pose.poses import Poses
from edgepose.pose.skeleton import Skeleton

Colour = tuple[int, int, int]

# RGB. Blue and orange stay apart for every common kind of colour blindness (Okabe and Ito 2008).
LEFT: Colour = (230, 159, 0)
RIGHT: Colour = (86, 180, 233)
MIDDLE: Colour = (240, 240, 240)
OUTLINE: Colour = (20, 20, 20)
# One colour a track for its label, from the same palette.
_TRACKS: tuple[Colour, ...] = (
    (0, 158, 115),
    (240, 228, 66),
    (204, 121, 167),
    (213, 94, 0),
    (0, 114, 178),
)


def draw_poses(image: NDArray[np.uint8], poses: Poses, min_keypoint_score: float = 0.2) -> NDArray[np.uint8]:
    """Draws limbs, keypoints and track ids.

    Args:
        image: uint8 (H, W, 3), RGB; it stays as it is.
        poses: Persons in its pixels.
        min_keypoint_score: Keypoints below are not drawn, nor limbs that end in one.

    Returns:
        A picture of the same shape.
    """
    picture = np.array(image, dtype=np.uint8, order="C")
    for person in range(len(poses)):
        _draw_person(picture, poses, person, min_keypoint_score)
    return picture


def side_colour(keypoint_name: str) -> Colour:
    """Left of the body orange, right blue, the rest white."""
    if keypoint_name.startswith("left"):
        return LEFT
    return RIGHT if keypoint_name.startswith("right") else MIDDLE


def limb_colour(skeleton: Skeleton, first: int, second: int) -> Colour:
    """The colour of both ends where they agree, else white."""
    colours = {side_colour(skeleton.keypoint_names[index]) for index in (first, second)}
    return colours.pop() if len(colours) == 1 else MIDDLE


def _draw_person(picture: NDArray[np.uint8], poses: Poses, person: int, min_score: float) -> None:
    width_px = max(round(min(picture.shape[:2]) / 240), 1)
    # A damaged coordinate far outside would overflow the drawing's integers; nothing there is visible.
    reach = 4 * max(picture.shape[:2])
    points = np.clip(np.nan_to_num(poses.keypoints_px[person]), -reach, reach).round().astype(int).tolist()
    shown = poses.keypoint_scores[person] >= min_score
    skeleton = poses.skeleton
    limbs = [edge for edge in skeleton.edges if shown[edge[0]] and shown[edge[1]]]
    # All outlines first, so that no outline crosses a coloured limb.
    for first, second in limbs:
        cv2.line(picture, points[first], points[second], OUTLINE, width_px + 2, cv2.LINE_AA)
    for first, second in limbs:
        colour = limb_colour(skeleton, first, second)
        cv2.line(picture, points[first], points[second], colour, width_px, cv2.LINE_AA)
    for index in np.flatnonzero(shown):
        colour = side_colour(skeleton.keypoint_names[index])
        cv2.circle(picture, points[index], width_px + 2, OUTLINE, cv2.FILLED, cv2.LINE_AA)
        cv2.circle(picture, points[index], width_px + 1, colour, cv2.FILLED, cv2.LINE_AA)
    if poses.track_ids is not None and shown.any():
        top = min((points[index] for index in np.flatnonzero(shown)), key=lambda point: point[1])
        _draw_id(picture, int(poses.track_ids[person]), (top[0], top[1]), width_px)


def _draw_id(picture: NDArray[np.uint8], track_id: int, top_px: tuple[int, int], width_px: int) -> None:
    """The id above the highest keypoint, kept inside the picture."""
    text, scale = str(track_id), 0.3 + 0.25 * width_px
    (text_width, text_height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, width_px)
    height, width = picture.shape[:2]
    x = int(np.clip(top_px[0] - text_width // 2, 0, max(width - text_width, 0)))
    y = int(np.clip(top_px[1] - 4 * width_px, text_height, height - 1))
    colour = _TRACKS[track_id % len(_TRACKS)]
    for line_colour, line_width in ((OUTLINE, width_px + 3), (colour, width_px)):
        cv2.putText(
            picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, line_colour, line_width, cv2.LINE_AA
        )
