"""Secrets from files, pipes and standard input; files that others can read are refused."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from edgepose.errors import ConfigError
from edgepose.records.files import MAX_SECRET_BYTES, read_secret


def secret_file(folder: Path, content: bytes = b"S3cret\n", mode: int = 0o600) -> Path:
    path = folder / "secret"
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("content", [b"S3cret", b"S3cret\n", b"\nS3cret\r\n\n"])
def test_a_private_file_is_read(tmp_path: Path, content: bytes) -> None:
    assert read_secret(secret_file(tmp_path, content), "the file", {}) == "S3cret"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_can_use_is_refused_and_not_repeated(tmp_path: Path, mode: int) -> None:
    with pytest.raises(ConfigError, match=f"has mode {mode:04o}.*chmod 600") as caught:
        read_secret(secret_file(tmp_path, mode=mode), "the file", {})
    assert "S3cret" not in str(caught.value)


def test_a_credential_of_systemd_may_have_its_rights(tmp_path: Path) -> None:
    path = secret_file(tmp_path, mode=0o440)
    assert read_secret(path, "the file", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == "S3cret"
    with pytest.raises(ConfigError, match="mode 0440"):
        read_secret(path, "the file", {"CREDENTIALS_DIRECTORY": str(tmp_path / "other")})


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "0 lines"),
        (b"a\nS3cret\n", "2 lines"),
        (b"\xffS3cret", "not UTF-8"),
        (b"S3cret" * MAX_SECRET_BYTES, "longer than 4096 bytes"),
    ],
)
def test_what_is_no_line_of_text_is_refused_and_not_repeated(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        read_secret(secret_file(tmp_path, content), "the file", {})
    assert "S3cret" not in str(caught.value)


def test_a_pipe_is_read_and_used_up() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"S3cret\n")
    os.close(writing)
    assert read_secret(Path(f"/dev/fd/{reading}"), "the file", {}) == "S3cret"
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reading)


def test_standard_input_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"S3cret\n")))
    assert read_secret(Path("-"), "the file", {}) == "S3cret"


def test_an_endless_input_is_not_taken_in() -> None:
    with pytest.raises(ConfigError, match="neither a file nor a pipe"):
        read_secret(Path("/dev/zero"), "the file", {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"Cannot read The file .*nothing: No such file"):
        read_secret(tmp_path / "nothing", "the file", {})
