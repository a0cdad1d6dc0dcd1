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
    for text in (
        address.shown,
        address.location,
        repr(address),
        str(address),
        f"{address:>40}",
        f"{address!r}",
    ):
        assert "s3cret" not in text
        assert "admin" not in text
        assert "stream" not in text
    # The camera still gets it.
    assert address.reveal() == "rtsp://admin:s3cret@10.0.0.7/stream"
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


@pytest.mark.parametrize(
    ("text", "shown", "whole"),
    [
        ("rtsp://u:12/S3cret@10.0.0.7/live", "rtsp://10.0.0.7", "rtsp://u:12%2FS3cret@10.0.0.7/live"),
        ("rtsp://u:S3/cret@cam.local:554/l", "rtsp://cam.local:554", "rtsp://u:S3%2Fcret@cam.local:554/l"),
        ("rtsp://u:S3@cret@cam/l", "rtsp://cam", "rtsp://u:S3%40cret@cam/l"),
        ("rtsp://u:S3#c?ret@10.0.0.7:8554", "rtsp://10.0.0.7:8554", "rtsp://u:S3%23c%3Fret@10.0.0.7:8554"),
        ("rtsp://u:50%S3cret@[fe80::1]/l", "rtsp://[fe80::1]", "rtsp://u:50%25S3cret@[fe80::1]/l"),
        ("rtsp://u:S3%2Fcret@10.0.0.7/l", "rtsp://10.0.0.7", "rtsp://u:S3%2Fcret@10.0.0.7/l"),
        ("rtsp://10.0.0.7/l?user=a&password=S3cret", "rtsp://10.0.0.7", None),
        ("rtsp://10.0.0.7/user=a&password=S3cret&stream=0.sdp", "rtsp://10.0.0.7", None),
    ],
)
def test_a_password_is_told_from_the_host_whatever_stands_in_it(
    text: str, shown: str, whole: str | None
) -> None:
    address = parse_source(text)
    assert address.shown == shown
    assert address.reveal() == (whole or text)
    assert address.has_secret


@pytest.mark.parametrize(
    "text", ["rtsp://10.0.0.7/live", "rtsp://cam/path@home?channel=1", "v4l2:///dev/video0", "a.mp4"]
)
def test_an_address_without_a_login_has_no_secret(text: str) -> None:
    assert not parse_source(text).has_secret


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:12/S3cret@host/live",
        "rtsp://admin:S3cret@cam.local/a@other.local/b",
        "rtsp:/admin:S3cret@host/live",
        "RTSP:admin:S3cret@host",
        "rtsps://admin:S3cret@",
        "rtsp://admin:S3cret@host:99999/live",
    ],
)
def test_what_can_be_read_in_two_ways_or_none_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_source(text)
    assert "S3cret" not in str(caught.value)


_LOGIN = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=12)


@given(user=_LOGIN.filter(lambda text: ":" not in text), password=_LOGIN.map(lambda text: f"qz{text}zq"))
def test_no_password_is_ever_in_what_is_shown(user: str, password: str) -> None:
    said = ""
    try:
        address = parse_source(f"rtsp://{user}:{password}@192.0.2.7:554/live")
    except ConfigError as problem:
        address, said = parse_source("rtsp://192.0.2.7:554"), str(problem)
    assert password not in said
    assert address.shown == "rtsp://192.0.2.7:554"
    assert password not in f"{address} {address!r} {address.location}"
