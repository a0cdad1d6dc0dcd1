"""Whatever the folder and the seed: crops that choose between candidates set no range and check nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from edgepose.host.data.calibration_set import (
    MAX_HELD_OUT,
    MAX_SELECTION,
    CalibrationSet,
    CropSample,
    calibration_crops,
)
from edgepose.host.data.data_folder import DataFolder, DataImage
from edgepose.trust.digests import sha256_of_bytes


def folder_of(persons: list[int]) -> DataFolder:
    """Labelled pictures with so many persons each; nothing reads their files."""
    images = []
    for number, count in enumerate(persons):
        boxes = tuple(np.array([i, 0, i + 5, 9], np.float32) for i in range(count))
        digest = sha256_of_bytes(f"picture {number}".encode())
        images.append(DataImage(Path(f"{number}.png"), digest, 0.5, boxes))
    return DataFolder(Path("folder"), tuple(images), (), 0, True, 0, 0)


def keys(crops: tuple[CropSample, ...]) -> set[tuple[str, tuple[float, ...]]]:
    return {
        (crop.image_sha256, () if crop.box_xyxy_px is None else tuple(crop.box_xyxy_px.tolist()))
        for crop in crops
    }


def pictures(crops: tuple[CropSample, ...]) -> set[str]:
    return {crop.image_sha256 for crop in crops}


def is_apart(drawn: CalibrationSet) -> bool:
    """Whether the selection shares no crop with the samples, and no picture with the held-out ones."""
    shared = keys(drawn.selection) & keys(drawn.samples)
    return not shared and not pictures(drawn.selection) & pictures(drawn.held_out)


@settings(max_examples=60, deadline=None)
@given(
    persons=st.lists(st.integers(1, 4), min_size=2, max_size=60),
    count=st.integers(1, 80),
    seed=st.integers(0, 2**31),
)
def test_selection_stands_apart_or_is_the_held_out_crops(persons: list[int], count: int, seed: int) -> None:
    drawn = calibration_crops(folder_of(persons), count, seed)
    assert not pictures(drawn.samples) & pictures(drawn.held_out)
    assert len(drawn.samples) <= count
    assert len(drawn.held_out) <= MAX_HELD_OUT
    assert len(keys(drawn.samples)) == len(drawn.samples)
    if drawn.selection != drawn.held_out:
        assert is_apart(drawn)
        assert 8 <= len(drawn.selection) <= MAX_SELECTION
        assert len(keys(drawn.selection)) == len(drawn.selection)
        # Calibration had all it asked for.
        assert len(drawn.samples) == count
    again = calibration_crops(folder_of(persons), count, seed)
    assert keys(again.selection) == keys(drawn.selection)
    assert keys(again.samples) == keys(drawn.samples)


@settings(max_examples=30, deadline=None)
@given(pictures_in_all=st.integers(2, 40), count=st.integers(1, 64), seed=st.integers(0, 1000))
def test_selection_is_held_out_exactly_where_fewer_than_eight_are_left(
    pictures_in_all: int, count: int, seed: int
) -> None:
    drawn = calibration_crops(folder_of([1] * pictures_in_all), count, seed)
    spare = pictures_in_all - len(drawn.held_out) - len(drawn.samples)
    assert (drawn.selection == drawn.held_out) == (spare < 8)
    if spare >= 8:
        assert len(drawn.selection) == min(spare, MAX_SELECTION)


def test_overlap_would_be_seen() -> None:
    drawn = calibration_crops(folder_of([2] * 40), 20, 0)
    assert is_apart(drawn)
    mixed = CalibrationSet(drawn.samples, drawn.held_out, "labels", (*drawn.selection, drawn.samples[0]))
    assert not is_apart(mixed)
    leaking = CalibrationSet(drawn.samples, drawn.held_out, "labels", drawn.held_out[:1])
    assert not is_apart(leaking)
