"""Text in which no camera's password stands."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgepose.records.display_text import hide_logins


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("unexpected argument (rtsp://u:S3cret@h/live)", "unexpected argument (rtsp://h)"),
        ("'rtsp://h:554/l?password=S3cret' failed.", "'rtsp://h:554' failed."),
        ("RTSPS://u:S3/cret@10.0.0.7/l, then rtsp://u:S3cret@b/l", "RTSPS://10.0.0.7, then rtsp://b"),
        ("rtsp://u:my S3cret word@h/l refused", "rtsp://(not shown)"),
        ("mqtt://u:S3cret@broker:1883/x is gone", "mqtt://broker:1883 is gone"),
        ("https://h/a?access_token=S3cret", "https://h"),
        ("rtsp://h/S3cret/live", "rtsp://h"),
        ("rtsp:/u:S3cret@h/live does not exist", "rtsp://h does not exist"),
        ("one\nrtsp://u:S3cret@h\nthree", "one\nrtsp://h\nthree"),
    ],
)
def test_a_url_with_a_password_shows_its_host_alone(text: str, shown: str) -> None:
    assert hide_logins(text) == shown
    assert "S3cret" not in hide_logins(text)


@pytest.mark.parametrize(
    "text",
    [
        "Give rtsp://HOST/STREAM, csi://0 or shared:///FOLDER.",
        "edgepose-device units install rtsp://... ; or",
        "See https://example.org/guide.html#part and file:///srv/a@b.mp4.",
        "ssh pi@camera-3, user:password without a scheme, 12:30",
    ],
)
def test_other_text_stays(text: str) -> None:
    assert hide_logins(text) == text


@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.text(st.characters(exclude_categories=("C", "Z")), max_size=10).map(lambda word: f"qz{word}qz"),
)
def test_a_password_in_a_log_line_is_hidden_whatever_stands_around_it(around: str, password: str) -> None:
    shown = hide_logins(f"{around} rtsp://user:{password}@192.0.2.7/live {around}")
    assert password not in shown
