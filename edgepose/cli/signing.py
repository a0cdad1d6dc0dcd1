"""Which keys a command signs with, and where their passphrase comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepose.cli.options import PATH, Option
from edgepose.errors import ConfigError
from edgepose.records.files import read_secret

if TYPE_CHECKING:
    from edgepose.host.bundle.signing import Sign
    from edgepose.host.keys.key_home import KeyHome

PASSPHRASE_VARIABLE = "EDGEPOSE_KEYS_PASSPHRASE"  # noqa: S105 - the name of a variable
PASSPHRASE_FILE_VARIABLE = "EDGEPOSE_KEYS_PASSPHRASE_FILE"  # noqa: S105

home_option: Option[Any] = click.option(
    "--home", type=PATH, metavar="DIR", help="Key home; EDGEPOSE_KEYS_HOME or the user's by default."
)
_keys_option: Option[Any] = click.option(
    "--keys",
    type=PATH,
    metavar="DIR",
    help="Key home to sign with; the user's by default, where there is one.",
)
_unsigned_option: Option[Any] = click.option(
    "--unsigned", is_flag=True, help="Do not sign, although there are keys."
)


def signing_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--keys`` and ``--unsigned``."""
    decorated: Callable[..., Any] = _keys_option(_unsigned_option(command))
    return decorated


@dataclass(frozen=True)
class Signing:
    """The keys that a command signs with.

    Attributes:
        sign: Signs the files of a bundle.
        roots: Their roots from version 1 on.
    """

    sign: Sign
    roots: tuple[bytes, ...]


def open_signing(keys: Path | None, *, unsigned: bool) -> Signing | None:
    """Opens the keys to sign with, or None where there are none and none were named.

    Raises:
        UsageError: ``--keys`` and ``--unsigned`` were given both.
        ConfigError: The named home has no keys, or no passphrase can be had.
        TrustError: The passphrase is wrong.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    from edgepose.host.keys.key_home import read_roots

    if keys is not None and unsigned:
        raise click.UsageError("--keys and --unsigned exclude each other.")
    home = key_home(keys)
    if unsigned or (keys is None and not home.has_keys()):
        return None
    from edgepose.host.bundle.signing import home_signer

    roots = tuple(read_roots(home))
    return Signing(home_signer(home, passphrase_of(home)), roots)


def key_home(folder: Path | None) -> KeyHome:
    """The key home that was named, or the user's."""
    from edgepose.host.keys.key_home import KeyHome, default_key_home

    return default_key_home() if folder is None else KeyHome(folder)


def passphrase_of(home: KeyHome) -> str | None:
    """The passphrase of a home; None where its keys are not encrypted.

    Raises:
        ConfigError: It was not given, and there is nobody to ask.
    """
    return _passphrase("Passphrase of the keys", confirm=False) if home.is_encrypted() else None


def new_passphrase() -> str:
    """The passphrase of keys to be made.

    Raises:
        ConfigError: It was not given and there is nobody to ask, or it is empty.
    """
    passphrase = _passphrase("New passphrase of the keys", confirm=True)
    if not passphrase:
        raise ConfigError("The passphrase is empty.", "Give one, or say --no-passphrase.")
    return passphrase


def take_passphrase(context: click.Context) -> None:
    """Moves the passphrase from the environment, which every program that is started gets, into this command.

    Args:
        context: Of the command that begins.
    """
    found = os.environ.pop(PASSPHRASE_VARIABLE, None)
    if found is not None:
        context.find_root().meta[PASSPHRASE_VARIABLE] = found


def _passphrase(question: str, *, confirm: bool) -> str:
    context = click.get_current_context()
    take_passphrase(context)
    found = context.find_root().meta.get(PASSPHRASE_VARIABLE)
    if found is not None:
        return str(found)
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    if named:
        return read_secret(Path(named), "the passphrase file")
    if not sys.stdin.isatty():
        raise ConfigError(
            f"The keys need a passphrase: {PASSPHRASE_FILE_VARIABLE} and {PASSPHRASE_VARIABLE} are not set, "
            "and there is no terminal.",
            f"Set {PASSPHRASE_FILE_VARIABLE} to a file of mode 0600 that holds it.",
        )
    answer: str = click.prompt(
        question, hide_input=True, confirmation_prompt=confirm, err=True, default="", show_default=False
    )
    return answer
