"""Pictures from disk: right way up, RGB, and nothing but pictures."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgepose.errors import ConfigError
from edgepose.runtime.image_file import list_image_files, read_image_rgb


def red_left_blue_right() -> np.ndarray:
    """(16, 32, 3) in OpenCV's BGR."""
    image = np.zeros((16, 32, 3), np.uint8)
    image[:, :16, 2] = 255
    image[:, 16:, 0] = 255
    return image


def test_channels_come_as_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), red_left_blue_right())
    image = read_image_rgb(tmp_path / "p.png")
    assert image.shape == (16, 32, 3)
    assert image[0, 0].tolist() == [255, 0, 0]
    assert image[0, 31].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    "stored",
    [np.full((4, 5), 100, np.uint8), np.full((4, 5), 25700, np.uint16), np.full((4, 5, 4), 100, np.uint8)],
    ids=["grey", "16 bits", "with alpha"],
)
def test_other_kinds_of_pixels_become_eight_bit_rgb(tmp_path: Path, stored: np.ndarray) -> None:
    cv2.imwrite(str(tmp_path / "p.png"), stored)
    image = read_image_rgb(tmp_path / "p.png")
    assert image.dtype == np.uint8
    assert image.shape == (4, 5, 3)
    assert set(np.unique(image)) == {100}


@pytest.mark.parametrize(
    ("orientation", "shape", "first_pixel"),
    [(1, (16, 32), "red"), (3, (16, 32), "blue"), (6, (32, 16), "red"), (8, (32, 16), "blue")],
    ids=["as stored", "upside down", "turned right", "turned left"],
)
def test_a_phones_orientation_is_applied(
    tmp_path: Path, orientation: int, shape: tuple[int, int], first_pixel: str
) -> None:
    jpeg = cv2.imencode(".jpg", red_left_blue_right())[1].tobytes()
    # One entry of type SHORT: tag 0x0112, the orientation.
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + tiff
    marker = b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body
    (tmp_path / "p.jpg").write_bytes(jpeg[:2] + marker + jpeg[2:])
    image = read_image_rgb(tmp_path / "p.jpg")
    assert image.shape[:2] == shape
    assert image[2, 2].argmax() == (0 if first_pixel == "red" else 2)


@pytest.mark.parametrize(
    "content",
    [None, b"", b"no picture at all", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"],
    ids=["missing", "empty", "text", "a PNG's start", "a JPEG's start"],
)
def test_what_is_no_picture_is_refused_with_its_name(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "p.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"p\.jpg"):
        read_image_rgb(path)


def test_a_folder_lists_its_visible_pictures_sorted(tmp_path: Path) -> None:
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in list_image_files(tmp_path)] == ["a.png", "b.JPG"]
    with pytest.raises(ConfigError, match="not a folder"):
        list_image_files(tmp_path / "missing")
