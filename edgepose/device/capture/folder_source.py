"""A folder of images, or one image: every file, sorted by name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from edgepose.device.capture.frame import Frame
from edgepose.device.capture.frame_source import SourceInfo
from edgepose.errors import ConfigError
from edgepose.inference.image_file import IMAGE_SUFFIXES, list_image_files, read_image_rgb


class FolderSource:
    """Pictures from image files.

    Args:
        paths: The files in the order in which they are delivered.
        name: What messages and records call the source.
    """

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        self._paths = tuple(paths)
        self._name = name
        self._index = 0

    @classmethod
    def of_folder(cls, folder: Path) -> FolderSource:
        """Takes the image files of a folder; sub-folders and hidden files are left out.

        Raises:
            ConfigError: The folder holds no image.
        """
        paths = list_image_files(folder)
        if not paths:
            suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
            raise ConfigError(f"The folder {folder} holds no image; expected files ending in {suffixes}.")
        return cls(paths, str(folder))

    @property
    def info(self) -> SourceInfo:
        """The number of pictures; they have no rate."""
        return SourceInfo(self._name, live=False, frame_count=len(self._paths))

    @property
    def ended(self) -> bool:
        """Whether the last picture was delivered."""
        return self._index >= len(self._paths)

    def read(self, wait_s: float) -> Frame | None:  # noqa: ARG002 (decoding takes what it takes)
        """Decodes the next picture.

        Raises:
            ConfigError: The file is no readable image; the message names it.
        """
        if self.ended:
            return None
        image = read_image_rgb(self._paths[self._index])
        frame = Frame(image, time.monotonic_ns(), self._index, lasting=True)
        self._index += 1
        return frame

    def close(self) -> None:
        """Ends the source; there is nothing to release."""
        self._index = len(self._paths)
