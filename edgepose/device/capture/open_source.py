"""From a SOURCE to an opened source."""

from __future__ import annotations

import re
from pathlib import Path

from edgepose.device.capture.file_sources import FolderSource, VideoSource
from edgepose.device.capture.frame_source import FrameSource, ImageMemory
from edgepose.device.capture.source_address import FORMS, SourceAddress
from edgepose.errors import ConfigError
from edgepose.runtime.image_file import IMAGE_SUFFIXES

_LIKE_A_LOGIN = re.compile(r"[^/\s]*:.*@", re.DOTALL)


def open_source(address: SourceAddress, images: ImageMemory | None = None) -> FrameSource:
    """Opens a file, a folder or a camera in this process.

    Raises:
        ConfigError: The file or folder is missing, empty or damaged.
        DeviceError: The camera cannot be opened.
    """
    if address.kind != "path":
        from edgepose.device.capture.camera_source import open_camera

        return open_camera(address, images)
    path = Path(address.location)
    if path.is_dir():
        return FolderSource.of_folder(path)
    if not path.exists() and _LIKE_A_LOGIN.match(address.location):
        # The text is not repeated: it may be a camera's address with a password.
        raise ConfigError("SOURCE does not exist; it looks like user:password@host.", f"Give {FORMS}.")
    if not path.exists():
        raise ConfigError(f"SOURCE {path} does not exist.", f"Give {FORMS}.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return FolderSource([path], str(path))
    return VideoSource(path, images)
