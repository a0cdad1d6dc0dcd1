"""Writing a file whole or not at all, for its owner alone, through no link (docs/adr/0040-outputs.md).

Also reading a secret, refused where others can read it, and finding the data folders of wheel and checkout.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from edgepose.errors import ConfigError

PRIVATE = 0o600
# For what another user must read: a unit file, an installed model that the service's user runs.
READABLE = 0o644
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# NAME_MAX is 255 bytes; a name that nearly fills it must have room for what is added.
_MOST_OF_A_NAME = 100
_MOST_RECORD_BYTES = 64 << 20
_SCHEMA = re.compile(r"edgepose\.[a-z_]+/[0-9]+")


def write_whole(path: Path, pieces: Iterable[bytes], mode: int = PRIVATE) -> None:
    """Writes beside the target, flushes to the disk, then renames.

    Args:
        path: The file; an old one stays as it was until the rename, a link there is replaced, not followed.
        pieces: Its content, in order.
        mode: Who may read it.

    Raises:
        ConfigError: The file cannot be written; nothing is left behind.
    """
    try:
        with atomic_file(path, mode) as stream:
            stream.writelines(pieces)
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem


@contextmanager
def atomic_file(
    path: Path, mode: int = PRIVATE, before_rename: Callable[[], None] = lambda: None
) -> Iterator[BinaryIO]:
    """A stream to a file that gets its name when the block ends well, and is removed otherwise.

    Args:
        path: The file.
        mode: Who may read it.
        before_rename: Called when it is on the disk and has not its name yet.

    Yields:
        The stream.

    Raises:
        OSError: The file cannot be written.
    """
    temporary = temporary_beside(path)
    descriptor = os.open(temporary, _NEW, PRIVATE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            yield stream
            stream.flush()
            _widen(stream.fileno(), mode)
            os.fsync(stream.fileno())
        before_rename()
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def open_growing(path: Path) -> int:
    """Opens a file that is written line by line and can be read meanwhile.

    A file is a new one under its name at once; one that was there is no more, and a link is replaced, not
    followed. A pipe or a device (``/dev/stdout``) is opened as it is.

    Raises:
        OSError: It cannot be opened.
    """
    if is_pipe_or_device(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileExistsError(errno.EEXIST, "it was exchanged for a file just now", os.fspath(path))
        return descriptor
    temporary = temporary_beside(path)
    descriptor = os.open(temporary, _NEW, PRIVATE)
    try:
        temporary.replace(path)
    except OSError:
        os.close(descriptor)
        with suppress(OSError):
            temporary.unlink()
        raise
    return descriptor


def open_appending(path: Path) -> int:
    """Opens a file to add to its end; one that is there keeps what it holds. A link is refused.

    Raises:
        OSError: It cannot be opened.
    """
    if is_pipe_or_device(path):
        return open_growing(path)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, PRIVATE)


def refuse_existing(path: Path, *, force: bool) -> None:
    """Nothing that is there is replaced without being asked for, and nothing but a file ever.

    An empty file holds nothing that could be lost: it is how ``mktemp`` keeps a name.

    Raises:
        ConfigError: Something is there.
    """
    try:
        found = path.lstat()
    except OSError:
        # Nothing there; or it cannot be reached, which the writer says better.
        return
    if not stat.S_ISREG(found.st_mode):
        is_folder = stat.S_ISDIR(found.st_mode)
        kind = "a link" if stat.S_ISLNK(found.st_mode) else "a folder" if is_folder else "no file"
        raise ConfigError(f"Cannot write {path}: it is {kind}.", "Give the name of a file.")
    if not force and found.st_size:
        raise ConfigError(f"{path} is there already.", "Choose another name, or replace it with --force.")


def refuse_other_record(path: Path, schemas: Collection[str], *, force: bool) -> bool:
    """A record may take the place of one of its own kind; anything else stays unless the user said so.

    Args:
        path: What is to be written.
        schemas: What the new record may be, such as ``edgepose.evaluation/1``, whatever the version; where it
            is not known yet, none: then any record of edgepose may be there.
        force: Whether the user said so.

    Returns:
        Whether something is there that will be replaced.

    Raises:
        ConfigError: Something else is there.
    """
    if not path.is_symlink() and path.is_file() and path.stat().st_size and not force:
        found = _schema_of(path)
        if found and (not schemas or _kind(found) in map(_kind, schemas)):
            return True
        what = f"a record of another kind ({_kind(found)})" if found else "no record of edgepose"
        raise ConfigError(
            f"{path} is there already and is {what}.", "Choose another name, or replace it with --force."
        )
    refuse_existing(path, force=force)
    return path.is_file() and path.stat().st_size > 0


def is_pipe_or_device(path: Path) -> bool:
    """Whether nothing could be overwritten there, as in ``/dev/stdout`` or ``/dev/null``."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that cannot be foreseen."""
    return path.with_name(f"{_temporary_prefix(path)}{os.urandom(8).hex()}.tmp")


def is_temporary_of(path: Path, target: Path) -> bool:
    """Whether a name may be one that ``temporary_beside`` gave; a power cut leaves such a file."""
    return path.name.startswith(_temporary_prefix(target)) and path.suffix == ".tmp"


def _temporary_prefix(path: Path) -> str:
    return f".{path.name[:_MOST_OF_A_NAME]}."


def _schema_of(path: Path) -> str:
    """What a record says it is; nothing where it is none."""
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_RECORD_BYTES + 1)
        record = json.loads(content) if len(content) <= _MOST_RECORD_BYTES else None
    except (OSError, ValueError, RecursionError):
        return ""
    schema = record.get("schema") if isinstance(record, dict) else None
    return schema if isinstance(schema, str) and _SCHEMA.fullmatch(schema) else ""


def _kind(schema: str) -> str:
    return schema.partition("/")[0]


def _widen(descriptor: int, mode: int) -> None:
    """Lets others read where that is wanted and they cannot; FAT has the modes of its mount."""
    if mode & ~os.fstat(descriptor).st_mode:
        os.fchmod(descriptor, mode)


# The longest command line word that anybody types; a secret is one line.
MAX_SECRET_BYTES = 4096
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d{1,4})")
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def read_secret(path: Path, what: str, environment: Mapping[str, str] = os.environ) -> str:
    """Reads the one line of a secret.

    Args:
        path: A file that belongs to this user or to root and that no other user can read; ``-`` for standard
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


_PACKAGE = Path(__file__).resolve().parent.parent


def packaged_folder(name: str) -> Path:
    """Returns ``device_profiles``, ``model_specs`` or ``calibration_data``.

    An installed wheel has a copy in ``edgepose/_data``; a checkout has none, so that the folders at its
    top level stay editable.

    Raises:
        ConfigError: The folder is in neither place: the installation is broken.
    """
    for folder in (_PACKAGE / "_data" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise ConfigError(f"The packaged folder '{name}' is missing.", "Reinstall edgepose.")
