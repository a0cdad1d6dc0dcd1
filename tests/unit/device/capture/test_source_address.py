"""SOURCE as typed: every form, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.device.capture.source_address import SourceAddress, parse_source
from edgepose.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "kind", "location"),
    [
        ("squats.mp4", "path", "squats.mp4"),
        ("./0", "path", "./0"),
        ("my: video.mp4", "path", "my: video.mp4"),
        ("file:///srv/a%20b.mp4", "path", "/srv/a b.mp4"),
        ("file://localhost/a.mp4", "path", "/a.mp4"),
        ("0", "camera", "0"),
        ("07", "camera", "7"),
        ("v4l2:///dev/video2", "v4l2", "/dev/video2"),
        ("V4L2:///dev/video2", "v4l2", "/dev/video2"),
        ("rtsp://camera.local/stream", "rtsp", "rtsp://camera.local/stream"),
        ("rtsps://10.0.0.7:322/s?x=1", "rtsp", "rtsps://10.0.0.7:322/s?x=1"),
        ("csi://0", "csi", "0"),
        ("picamera2://1", "picamera2", "1"),
    ],
)
def test_every_documented_form_is_understood(text: str, kind: str, location: str) -> None:
    assert parse_source(text) == SourceAddress(kind, location)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("  ", "empty"),
        ("a\0b", "empty"),
        ("http://example.org/a.mp4", "unknown scheme 'http://'"),
        ("udp://239.0.0.1:1234", "unknown scheme 'udp://'"),
        ("file://elsewhere/a.mp4", "no local file"),
        ("file:///", "no local file"),
        ("v4l2://video0", "names no device"),
        ("rtsp://", "no usable host"),
        ("rtsp://host:notaport/x", "no usable host"),
        ("csi://", "names no camera"),
        ("csi://front", "names no camera"),
        ("picamera2://-1", "names no camera"),
        ("64", "names no camera"),
        ("99999999999999999999", "names no camera"),
    ],
)
def test_other_forms_are_refused_with_exit_code_3(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_source(text)
    assert caught.value.exit_code == 3


def test_an_unknown_scheme_lists_the_forms() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source("gopher://x")
    assert "v4l2:///dev/video0" in caught.value.hint
    assert "picamera2://0" in caught.value.hint


def test_a_password_is_shown_nowhere() -> None:
    address = parse_source("rtsp://admin:s3cret@10.0.0.7/stream")
    assert address.shown == "rtsp://10.0.0.7/stream"
    assert "s3cret" not in repr(address)
    # The camera still gets it.
    assert "s3cret" in address.location
    with pytest.raises(ConfigError) as caught:
        parse_source("rtsp://admin:s3cret@host:port/")
    assert "s3cret" not in str(caught.value)


@given(st.text())
def test_any_text_is_an_address_or_a_plain_error(text: str) -> None:
    try:
        address = parse_source(text)
    except ConfigError:
        return
    assert address.kind == "path" or "://" in text or text.isdigit()
