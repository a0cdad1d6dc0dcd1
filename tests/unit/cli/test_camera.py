"""The command line that a program is started again with, once it held a password."""

from __future__ import annotations

import pytest

from edgepose.cli.camera import without_source

_URL = "rtsp://u:S3cret@h/live"


@pytest.mark.parametrize(
    ("words", "option", "expected"),
    [
        (["edgepose", "run", _URL, "--max-frames", "1"], None, "edgepose run FILE --max-frames 1"),
        (["-m", "edgepose", "run", "--json", "-", _URL], None, "-m edgepose run --json - FILE"),
        (["benchmark", "m", "--source", _URL, "-q"], "--source", "benchmark m FILE -q"),
        (["benchmark", f"--source={_URL}"], "--source", "benchmark FILE"),
    ],
)
def test_the_address_gives_way_to_a_file(words: list[str], option: str | None, expected: str) -> None:
    found = without_source(words, _URL, option, "/dev/fd/5")
    assert found == expected.replace("FILE", "--camera-file /dev/fd/5").split()


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["run"], None),
        (["run", _URL, "--render", _URL], None),
        (["run", "--", _URL], None),
        (["--source", "x", _URL], "--source"),
        ([_URL], "--source"),
    ],
)
def test_what_is_not_plain_is_left_alone(words: list[str], option: str | None) -> None:
    assert without_source(words, _URL, option, "/dev/fd/5") is None
