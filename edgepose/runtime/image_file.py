"""Reading an image from disk, the same way on the host and on the device."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgepose.errors import ConfigError
from edgepose.runtime.preprocess import Image

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


def list_image_files(folder: Path) -> list[Path]:
    """The image files of a folder by suffix, sorted by name; sub-folders and hidden files are left out.

    Raises:
        ConfigError: The folder does not exist.
    """
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder, expected one with images.")
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_image_rgb(path: Path) -> Image:
    """Decodes an image.

    EXIF orientation is applied and grey images become RGB, as every viewer shows them.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        ConfigError: The file is missing or is no image.
    """
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except OSError as problem:
        raise ConfigError(f"Cannot read the image {path}: {problem.strerror}.") from problem
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if decoded is None:
        raise ConfigError(f"{path} is not a readable image.", "Remove it or copy it again.")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
