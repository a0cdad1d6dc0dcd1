"""What a slice measures, at its bounds: values told by the module's table, computed here once more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from edgepose.host.data.coco import CocoDataset, LabelledImage, LabelledPerson
from edgepose.host.evaluate.slices import _laplacian_variance, slice_membership
from edgepose.pose.skeletons import COCO17
from tests.support.labelled_sets import person

Picture = NDArray[np.uint8]
SIDE = 256


def slices_of(folder: Path, picture: Picture, persons: list[LabelledPerson]) -> list[set[str]]:
    path = folder / "1.png"
    assert cv2.imwrite(str(path), picture)
    image = LabelledImage(1, path, picture.shape[1], picture.shape[0], tuple(persons))
    membership = slice_membership(CocoDataset((image,), COCO17.keypoint_names, 0, 0, "0" * 64))
    return [{name for name, masks in membership.items() if masks[0][i]} for i in range(len(persons))]


def grey(level: int, width: int = SIDE, height: int = SIDE) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


def boxed(left: float, top: float, width: float, height: float, visible: int = 17) -> LabelledPerson:
    """A person whose box and area are those of this rectangle."""
    points = np.column_stack([np.linspace(left, left + width, 17), np.linspace(top, top + height, 17)])
    labelled = person(1, 1, np.column_stack([points, np.where(np.arange(17) < visible, 2, 1)]))
    np.testing.assert_allclose(labelled.box_xyxy_px, [left, top, left + width, top + height], atol=1e-3)
    return labelled


@pytest.mark.parametrize(
    ("level", "name"), [(59, "dark"), (60, "medium"), (114, "medium"), (115, "bright"), (255, "bright")]
)
def test_a_value_on_a_bound_belongs_to_the_upper_slice(tmp_path: Path, level: int, name: str) -> None:
    (found,) = slices_of(tmp_path, grey(level), [boxed(10, 10, 100, 100)])
    assert f"brightness_{name}" in found


@pytest.mark.parametrize(
    ("visible", "name"), [(0, "few"), (5, "few"), (6, "some"), (11, "some"), (12, "most"), (17, "most")]
)
def test_thirds_of_the_keypoints(tmp_path: Path, visible: int, name: str) -> None:
    # 5 of 17 is under a third, 6 above; 11 under two thirds, 12 above.
    (found,) = slices_of(tmp_path, grey(80), [boxed(10, 10, 100, 100, visible)])
    assert f"keypoints_{name}" in found


def test_a_box_is_rounded_outwards_to_whole_pixels(tmp_path: Path) -> None:
    # From 10.9 to 12.1 the pixels 10, 11 and 12 are inside: 200, 0 and 200, not 0 alone.
    picture = grey(0)
    picture[:, 10], picture[:, 12] = 200, 200
    (found,) = slices_of(tmp_path, picture, [boxed(10.9, 20, 1.2, 50)])
    assert "brightness_bright" in found
    turned = np.ascontiguousarray(picture.transpose(1, 0, 2))
    (found,) = slices_of(tmp_path, turned, [boxed(20, 10.9, 50, 1.2)])
    assert "brightness_bright" in found


def test_nothing_beside_the_box_counts(tmp_path: Path) -> None:
    picture = grey(255)
    picture[20:70, 30:50] = 0
    (found,) = slices_of(tmp_path, picture, [boxed(30, 20, 20, 50)])
    assert "brightness_dark" in found


@pytest.mark.parametrize(("left", "top"), [(-40, 30), (30, -40), (SIDE + 20, 30), (30, SIDE + 20)])
def test_a_person_outside_the_picture_has_the_nearest_pixels(tmp_path: Path, left: float, top: float) -> None:
    picture = grey(255)
    picture[0], picture[-1], picture[:, 0], picture[:, -1] = 0, 0, 0, 0
    (found,) = slices_of(tmp_path, picture, [boxed(left, top, 20, 20)])
    assert "brightness_dark" in found


def blur_of(cut: NDArray[np.uint8]) -> float:
    """The variance of the Laplacian with the longer side at 128 pixels."""
    scale = 128 / max(cut.shape)
    size = round(cut.shape[1] * scale), round(cut.shape[0] * scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = cv2.resize(cut, size, interpolation=how).astype(np.float64)
    padded = np.pad(resized, 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * resized
    return float(laplacian.var())


def checks(height: int, width: int, cell: int, contrast: int) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    return (100 + contrast * ((rows // cell + columns // cell) % 2)).astype(np.uint8)


@pytest.mark.parametrize("cell", [1, 2, 4, 8, 16])
@pytest.mark.parametrize(("height", "width"), [(64, 32), (32, 64), (128, 96), (96, 240), (240, 96)])
def test_blur_is_the_variance_of_the_laplacian_at_128_pixels(
    tmp_path: Path, height: int, width: int, cell: int
) -> None:
    names = set()
    for contrast in (3, 6, 12, 24, 48, 96):
        cut = checks(height, width, cell, contrast)
        picture = grey(100)
        picture[8 : 8 + height, 8 : 8 + width] = cut[..., None]
        (found,) = slices_of(tmp_path, picture, [boxed(8, 8, width, height)])
        value = blur_of(cut)
        expected = "blurred" if value < 300 else "medium" if value < 2000 else "sharp"
        assert f"blur_{expected}" in found, value
        names.add(expected)
    assert names & {"blurred", "sharp"}


def test_a_box_of_one_pixel_and_one_of_a_line_have_a_blur(tmp_path: Path) -> None:
    # A line of one pixel in 300 is less than half a pixel high when its longer side has 128.
    persons = [boxed(20, 20, 1, 1), boxed(20, 30, 300, 1), boxed(30, 20, 1, 300)]
    found = slices_of(tmp_path, grey(100, 400, 400), persons)
    assert all("blur_blurred" in names for names in found)


@pytest.mark.parametrize(
    ("shift", "name"), [(0.0, "crowded"), (60.0, "crowded"), (85.0, "near"), (97.0, "near"), (99.0, "alone")]
)
def test_crowding_is_the_highest_overlap_with_another(tmp_path: Path, shift: float, name: str) -> None:
    # Two squares of 100 pixels shifted by s overlap by (100 - s) / (100 + s): 0.25, 0.08, 0.015 and 0.005.
    persons = [boxed(10, 10, 100, 100), boxed(10 + shift, 10, 100, 100), boxed(240, 240, 10, 10)]
    found = slices_of(tmp_path, grey(100), persons)
    assert f"crowding_{name}" in found[0]
    assert f"crowding_{name}" in found[1]
    assert "crowding_alone" in found[2]


@pytest.mark.parametrize(
    ("area_px2", "name"),
    [(1023.9, "small"), (1024.0, "medium"), (9215.9, "medium"), (9216.0, "large")],
)
def test_sizes_are_cocos_areas(tmp_path: Path, area_px2: float, name: str) -> None:
    (found,) = slices_of(tmp_path, grey(100), [replace(boxed(10, 10, 50, 50), area_px2=area_px2)])
    assert f"size_{name}" in found


@pytest.mark.parametrize("shape", [(100, 60), (60, 110), (128, 90), (240, 150), (40, 20), (128, 128)])
def test_the_blur_of_noise_is_the_variance_of_the_laplacian_at_128_pixels(shape: tuple[int, int]) -> None:
    cut = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    assert _laplacian_variance(cut) == pytest.approx(blur_of(cut))


def test_the_blur_of_a_line_is_that_of_one_row() -> None:
    line = np.random.default_rng(1).integers(0, 256, (1, 300)).astype(np.uint8)
    row = cv2.resize(line, (128, 1), interpolation=cv2.INTER_AREA)[0].astype(np.float64)
    padded = np.pad(row, 1, mode="reflect")
    # Above and below a lone row its own values are mirrored.
    expected = float((padded[:-2] + padded[2:] - 2 * row).var())
    assert _laplacian_variance(line) == pytest.approx(expected)
    assert _laplacian_variance(line.T.copy()) == pytest.approx(expected)
