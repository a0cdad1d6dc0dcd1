"""What cannot calibrate is refused by its reason; what can is not."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.host.data.audit.fitness import refuse_leak, refuse_unfit
from edgepose.host.data.data_folder import open_data_folder
from edgepose.host.synthetic.composition import draw_scene
from tests.support.data_folders import write_pictures
from tests.support.planted_data import resaved


def _few(folder: Path) -> None:
    write_pictures(folder, 15)


def _level(level: int) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        folder.mkdir()
        for index in range(20):
            cv2.imwrite(str(folder / f"{index}.png"), np.full((40 + index, 40, 3), level, np.uint8))

    return write


def _one_picture_saved_again(folder: Path) -> None:
    folder.mkdir()
    picture = draw_scene(0, (256, 192)).image
    for quality in range(50, 90, 2):
        cv2.imwrite(str(folder / f"{quality}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])


def _copies_and_flat(folder: Path) -> None:
    write_pictures(folder, 10)
    for index in range(5):
        shutil.copy(folder / "000.png", folder / f"copy{index}.png")
        cv2.imwrite(str(folder / f"black{index}.png"), np.full((50 + index, 50, 3), 0, np.uint8))


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (_few, "Found 15 different pictures that show something, expected at least 16."),
        (_level(0), "All 20 pictures are black."),
        (_level(255), "All 20 pictures are white."),
        (_level(128), "All 20 pictures are of one colour."),
        (_one_picture_saved_again, "All 20 pictures are the same one"),
        (_copies_and_flat, r"Found 10 different .* \(left out: 5 black\)"),
    ],
)
def test_unfit_folder_is_refused_with_its_reason(
    tmp_path: Path, write: Callable[[Path], None], says: str
) -> None:
    write(tmp_path / "data")
    with pytest.raises(ConfigError, match=says):
        refuse_unfit(open_data_folder(tmp_path / "data"), 16)


def test_sixteen_different_pictures_are_enough(tmp_path: Path) -> None:
    refuse_unfit(open_data_folder(write_pictures(tmp_path / "data", 16)), 16)


@pytest.mark.parametrize("height_px", [40, 80, 160])
def test_frames_of_a_still_camera_are_different_pictures(tmp_path: Path, height_px: int) -> None:
    """A person who moves before the same background is what a device will see."""
    (tmp_path / "data").mkdir()
    background = draw_scene(3, (256, 192)).image
    for index in range(16):
        frame = background.copy()
        figure = draw_scene(100 + index, (256, 192)).image[20:180, 90:170]
        small = cv2.resize(figure, (height_px // 2, height_px), interpolation=cv2.INTER_AREA)
        frame[20 : 20 + height_px, 5 + 10 * index : 5 + 10 * index + height_px // 2] = small
        cv2.imwrite(str(tmp_path / "data" / f"{index}.png"), frame)
    refuse_unfit(open_data_folder(tmp_path / "data"), 16)


def test_more_pictures_than_are_looked_at_first_still_count(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    _one_picture_saved_again(folder)
    picture = draw_scene(0, (256, 192)).image
    for index in range(80):
        cv2.imwrite(str(folder / f"again{index}.png"), np.clip(picture.astype(int) + index % 40, 0, 255))
    with pytest.raises(ConfigError, match="expected at least 16"):
        refuse_unfit(open_data_folder(folder), 16)
    write_pictures(folder, 16)
    refuse_unfit(open_data_folder(folder), 16)


def test_an_evaluation_picture_among_the_calibration_is_refused_by_name(tmp_path: Path) -> None:
    mine, other = write_pictures(tmp_path / "mine", 3), write_pictures(tmp_path / "other", 3, first=10)
    refuse_leak(mine, other)
    shutil.copy(mine / "001.png", other / "renamed.png")
    with pytest.raises(ConfigError, match=r"1 of 3 .* no measurement: 001\.png = renamed\.png"):
        refuse_leak(mine, other)


def test_an_evaluation_picture_saved_again_in_another_size_is_refused(tmp_path: Path) -> None:
    mine, other = write_pictures(tmp_path / "mine", 3), write_pictures(tmp_path / "other", 3, first=10)
    picture = draw_scene(5, (512, 384)).image
    cv2.imwrite(str(mine / "scene.png"), picture)
    cv2.imwrite(str(other / "small.jpg"), resaved(picture, "half", np.random.default_rng(0)))
    with pytest.raises(ConfigError, match=r"scene\.png = small\.jpg"):
        refuse_leak(mine, other)
