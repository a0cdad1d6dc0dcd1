"""What ``edgepose data synth`` writes and reports."""

from __future__ import annotations

from typing import Literal

from edgepose.records.record import Record


class ClipPerson(Record, frozen=True, kw_only=True):
    """A person in a frame.

    Attributes:
        person_id: The same person has the same number in every frame.
        activity: What it does.
        box_xyxy_px: Tight around what is seen, or None where nothing is.
        area_px2: What is seen.
        keypoints: COCO-17: x_px, y_px, visibility (0 outside the image, 1 hidden, 2 seen); the place is
            exact in any case.
    """

    person_id: int
    activity: str
    box_xyxy_px: tuple[float, float, float, float] | None
    area_px2: float
    keypoints: tuple[tuple[float, float, int], ...]


class ClipFrame(Record, frozen=True, kw_only=True):
    """A frame's truth."""

    frame: int
    persons: tuple[ClipPerson, ...]


class SyntheticClip(Record, frozen=True, kw_only=True):
    """The labels of a drawn clip.

    Attributes:
        video: File name beside this one.
        fps: Frames a second.
        width_px: Width.
        height_px: Height.
        seed: What everything was drawn from.
        command: What makes it again.
        frames: In order.
        schema: Name and version of this record.
    """

    schema: Literal["edgepose.synthetic_clip/1"] = "edgepose.synthetic_clip/1"
    video: str
    fps: float
    width_px: int
    height_px: int
    seed: int
    command: str
    frames: tuple[ClipFrame, ...]


class SynthesisReport(Record, frozen=True, kw_only=True):
    """``edgepose data synth --json``.

    Attributes:
        folder: What was written into.
        commands: What makes the same again.
        seconds: Time it took.
        pictures: Number of images.
        persons: Labelled persons in them.
        keypoints_outside: Keypoints outside their image.
        keypoints_hidden: Keypoints that something hides.
        keypoints_seen: Keypoints that are seen.
        frames: Frames of the clip.
        schema: Name and version of this record.
    """

    schema: Literal["edgepose.synthesis/1"] = "edgepose.synthesis/1"
    folder: str
    commands: tuple[str, ...]
    seconds: float
    pictures: int
    persons: int
    keypoints_outside: int
    keypoints_hidden: int
    keypoints_seen: int
    frames: int
