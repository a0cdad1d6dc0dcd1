"""Which camera SOURCE, ``--camera-file`` and systemd's credential name together."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.device.capture.source_address import read_camera
from edgepose.errors import ConfigError


def camera_file(folder: Path, text: str) -> Path:
    path = folder / "camera"
    path.write_text(text)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("source", "text", "whole"),
    [
        (None, "rtsp://u:S3cret@10.0.0.7/live\n", "rtsp://u:S3cret@10.0.0.7/live"),
        (None, "v4l2:///dev/video3", "/dev/video3"),
        ("rtsp://10.0.0.7/live", "u:S3/cret@", "rtsp://u:S3%2Fcret%40@10.0.0.7/live"),
        ("rtsp://10.0.0.7", "rtsp://u:S3cret@10.0.0.7/live", "rtsp://u:S3cret@10.0.0.7/live"),
        ("clip.mp4", None, "clip.mp4"),
        (None, None, None),
    ],
)
def test_a_source_comes_from_the_one_place_that_names_it(
    tmp_path: Path, source: str | None, text: str | None, whole: str | None
) -> None:
    found = read_camera(source, None if text is None else camera_file(tmp_path, text), {})
    assert (None if found is None else found.reveal()) == whole


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("clip.mp4", "u:S3cret"),
        ("rtsp://10.0.0.7/live?password=x", "u:S3cret"),
        ("rtsp://10.0.0.7/live", "rtsp://u:S3cret@10.0.0.8/live"),
        ("rtsp://10.0.0.7/live", "v4l2:///dev/S3cret"),
        (None, "rtsp://u:S3cret@"),
    ],
)
def test_what_contradicts_itself_is_refused_without_the_secret(
    tmp_path: Path, source: str | None, text: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        read_camera(source, camera_file(tmp_path, text), {})
    assert "u:S3cret" not in str(caught.value)


def test_the_credential_of_systemd_counts_where_nothing_else_is_named(tmp_path: Path) -> None:
    camera_file(tmp_path, "rtsp://u:S3cret@10.0.0.7/live").chmod(0o440)
    environment = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    found = read_camera(None, None, environment)
    assert found is not None
    assert found.host == "10.0.0.7"
    named = read_camera("0", None, environment)
    assert named is not None
    assert named.kind == "camera"
