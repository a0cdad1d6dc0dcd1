"""Reads a secret from a file, a pipe or standard input, and refuses a file that others can read."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Mapping
from pathlib import Path

from edgepose.errors import ConfigError

# The longest command line word that anybody types; a secret is one line.
MAX_SECRET_BYTES = 4096
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,4})")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_secret(path: Path, what: str, environment: Mapping[str, str] = os.environ) -> str:
    """Reads the one line of a secret.

    Args:
        path: A file that belongs to this user or to root and that nobody else can read; ``-`` for standard
            input; ``/dev/fd/N`` or a named pipe. Credentials of systemd are as systemd made them.
        what: Names it in messages, such as ``the camera file``.
        environment: Of the process; ``CREDENTIALS_DIRECTORY`` is systemd's.

    Raises:
        ConfigError: It cannot be read, others can read it, or it is not one line of text.
    """
    content = _standard_input() if str(path) == "-" else _content(path, what, environment)
    if len(content) > MAX_SECRET_BYTES:
        raise ConfigError(f"{_named(path, what)} is longer than {MAX_SECRET_BYTES} bytes, expected one line.")
    try:
        lines = [line for line in content.decode().splitlines() if line.strip()]
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{_named(path, what)} is not UTF-8 text, expected one line.") from problem
    if len(lines) != 1:
        raise ConfigError(f"{_named(path, what)} has {len(lines)} lines of text, expected one.")
    return lines[0]


def _content(path: Path, what: str, environment: Mapping[str, str]) -> bytes:
    inherited = _DESCRIPTOR.fullmatch(str(path))
    try:
        # An inherited descriptor is used up, so that nothing that is started later gets it.
        descriptor = int(inherited[1]) if inherited else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            _check_private(os.fstat(descriptor), path, what, environment)
            return stream.read(MAX_SECRET_BYTES + 1)
    except OSError as problem:
        raise ConfigError(f"Cannot read {_named(path, what)}: {problem.strerror}.") from problem


def _check_private(status: os.stat_result, path: Path, what: str, environment: Mapping[str, str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISFIFO(status.st_mode):
            return
        raise ConfigError(f"{_named(path, what)} is neither a file nor a pipe.")
    credentials = environment.get("CREDENTIALS_DIRECTORY", "")
    if credentials and Path(credentials) == path.parent:
        # systemd gives the service's user an access control list, which shows as rights of the group.
        return
    if status.st_mode & _OTHERS:
        raise ConfigError(
            f"{_named(path, what)} has mode {stat.S_IMODE(status.st_mode):04o}, so others may read it; "
            "expected 0600.",
            f"Run: chmod 600 {path}; if others could log in here, change the password, too.",
        )
    if os.geteuid() not in {0, status.st_uid} and status.st_uid != 0:
        raise ConfigError(f"{_named(path, what)} belongs to another user, who could change it.")


def _standard_input() -> bytes:
    if sys.stdin.isatty():
        # Typed on a terminal it would stand on the screen.
        import getpass

        return getpass.getpass("Secret (not shown): ").encode()
    return sys.stdin.buffer.read(MAX_SECRET_BYTES + 1)


def _named(path: Path, what: str) -> str:
    return f"{what[:1].upper()}{what[1:]} {'on standard input' if str(path) == '-' else path}"
