"""The packaged frames are those that their index names, and those that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from edgepose.host.models.drawn_frames import FrameSet, drawn_frames
from edgepose.host.synthetic.composition import draw_scene
from edgepose.trust.digests import sha256_of_bytes


@pytest.mark.parametrize(("name", "count"), [("figures", 36), ("patches", 36), ("compared", 4)])
def test_every_frame_is_the_one_that_the_index_names(name: FrameSet, count: int) -> None:
    frames = drawn_frames(name)
    assert len(frames) == count
    for seed, frame in frames.items():
        assert frame.entry.seed == seed
        assert sha256_of_bytes(frame.image.tobytes()) == frame.entry.sha256
        assert not frame.image.flags.writeable


def test_figures_are_those_that_the_generator_draws() -> None:
    frame = drawn_frames("figures")[7000]
    scene = draw_scene(7000, (192, 256))
    np.testing.assert_array_equal(frame.image, scene.image)
    assert frame.entry.box_xyxy_px == tuple(scene.boxes_xyxy_px[0])
    assert frame.entry.area_px2 == scene.areas_px2[0]
