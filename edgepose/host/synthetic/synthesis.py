"""Writes pictures, a clip, or both into a folder, and reports what came out."""

from __future__ import annotations

import time
from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.host.synthetic.clip import ClipRequest, check_clip, write_clip
from edgepose.host.synthetic.picture_set import PictureSetRequest, WrittenSet, write_picture_set
from edgepose.spec.synthetic_clip import SynthesisReport


def synthesize(
    folder: Path, pictures: PictureSetRequest | None = None, clip: ClipRequest | None = None
) -> SynthesisReport:
    """Draws persons who do not exist.

    Args:
        folder: Data folder to make; an old one is never written over.
        pictures: Pictures with COCO labels, or None.
        clip: A video with labels of every frame, or None.

    Raises:
        ConfigError: Nothing was asked for, it cannot be drawn, or the folder is not free to write.
        MissingDependencyError: This OpenCV cannot write MPEG-4 video.
    """
    if pictures is None and clip is None:
        raise ConfigError("Neither pictures nor a clip was asked for.", "Give --count, --video or both.")
    start_ns = time.monotonic_ns()
    if clip is not None:
        # Before the pictures are drawn, not after.
        check_clip(clip)
    written = WrittenSet(0, 0, (0, 0, 0)) if pictures is None else write_picture_set(folder, pictures)
    frames = 0 if clip is None else len(write_clip(folder, clip).frames)
    outside, hidden, seen = written.keypoints
    return SynthesisReport(
        folder=str(folder),
        commands=tuple(request.command for request in (pictures, clip) if request is not None),
        seconds=round((time.monotonic_ns() - start_ns) / 1e9, 3),
        pictures=written.pictures,
        persons=written.persons,
        keypoints_outside=outside,
        keypoints_hidden=hidden,
        keypoints_seen=seen,
        frames=frames,
    )
