"""SOURCE and ``--camera-file``: a camera's password may come in, and is shown nowhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepose.cli.options import PATH, Option
from edgepose.cli.output import say

if TYPE_CHECKING:
    from edgepose.device.capture.source_address import SourceAddress

camera_file_option: Option[Any] = click.option(
    "--camera-file",
    type=PATH,
    metavar="FILE",
    help="Holds the camera's address, or user:password for SOURCE; mode 0600, - is standard input.",
)
# The least that a pipe takes without a reader (pipe(7)).
_PIPE_BYTES = 4096


def camera_of(source: str | None, camera_file: Path | None, option: str | None = None) -> SourceAddress:
    """What SOURCE and ``--camera-file`` name; SOURCE may be the value of an option.

    Where a password stands on the command line, this warns, and starts the program again without it, as the
    process list would show it for as long as the program runs.

    Raises:
        UsageError: Nothing was named.
        ConfigError: It is of no use.
    """
    from edgepose.device.capture.source_address import read_camera

    address = read_camera(source, camera_file)
    if address is None:
        raise click.UsageError(f"Give {option or 'SOURCE'} or --camera-file FILE.")
    if source is not None and address.has_secret and camera_file is None:
        say(
            "warning: the camera's password stands on the command line, which the process list, the shell's "
            "history and sudo's log show. Better: write the address into a file that only you can read, and "
            "give --camera-file FILE."
        )
        _start_again(source, option)
    return address


def without_source(words: Sequence[str], source: str, option: str | None, file: str) -> list[str] | None:
    """A command line that names a file instead of a SOURCE, which may be an option's value.

    None where it is not plain how. Pure.
    """
    if "--" in words:
        return None
    joined = f"{option}={source}"
    found = [at for at, word in enumerate(words) if word in {source, joined}]
    if len(found) != 1:
        return None
    first = last = found[0]
    if option is not None and words[first] == source:
        first -= 1
        if first < 0 or words[first] != option:
            return None
    return [*words[:first], "--camera-file", file, *words[last + 1 :]]


def _start_again(source: str, option: str | None) -> None:
    """Replaces this process by itself, with SOURCE in a pipe; does nothing where that is not plain."""
    content = source.encode(errors="surrogateescape")
    original = sys.orig_argv
    own = sys.argv[1:]
    if not sys.executable or len(content) > _PIPE_BYTES or original[len(original) - len(own) :] != own:
        return
    reading, writing = os.pipe()
    words = without_source(original[1:], source, option, f"/dev/fd/{reading}")
    if words is None:
        os.close(reading)
        os.close(writing)
        return
    os.write(writing, content)
    os.close(writing)
    os.set_inheritable(reading, True)  # noqa: FBT003 (its only argument)
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 (no shell is wanted)
