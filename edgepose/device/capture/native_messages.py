"""Keeps OpenCV's and FFmpeg's own lines off the terminal: errors come as one sentence in plain words."""

from __future__ import annotations

import os

import cv2

_AV_LOG_QUIET = "-8"


def silence_native_messages() -> None:
    """Silences both libraries; FFmpeg reads its level once, at its first use by OpenCV."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _AV_LOG_QUIET)
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
