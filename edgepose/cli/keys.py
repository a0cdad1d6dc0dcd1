"""``edgepose keys``; which keys a command signs with, and where their passphrase comes from."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepose.cli.entry import PASSPHRASE_VARIABLE, take_passphrase
from edgepose.cli.options import PATH, Option, json_option, output_option
from edgepose.cli.output import say, table, write_report
from edgepose.errors import ConfigError
from edgepose.records.files import read_secret

if TYPE_CHECKING:
    from edgepose.host.keys.ceremony import KeySummary, Sign
    from edgepose.host.keys.key_home import KeyHome


PASSPHRASE_FILE_VARIABLE = "EDGEPOSE_KEYS_PASSPHRASE_FILE"  # noqa: S105 - the name of a variable

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
    """What signs the files of a bundle, and the roots of its keys from version 1 on."""

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
    from edgepose.host.keys.ceremony import home_signer

    roots = tuple(read_roots(home))
    return Signing(home_signer(home, passphrase_of(home)), roots)


def key_home(folder: Path | None) -> KeyHome:
    """The key home that was named, or the user's."""
    from edgepose.host.keys.key_home import KeyHome, default_key_home

    return default_key_home() if folder is None else KeyHome(folder)


def passphrase_of(home: KeyHome) -> str | None:
    """The passphrase of a home; None where its keys are not encrypted."""
    return _passphrase("Passphrase of the keys", confirm=False) if home.is_encrypted() else None


def new_passphrase() -> str:
    """The passphrase of keys to be made, never an empty one."""
    passphrase = _passphrase("New passphrase of the keys", confirm=True)
    if not passphrase:
        raise ConfigError("The passphrase is empty.", "Give one, or say --no-passphrase.")
    return passphrase


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


_ROLES = ("root", "targets", "snapshot", "timestamp")


@click.group(name="keys", epilog="Example: edgepose keys init")
def command() -> None:
    """Make, show and rotate the keys that sign bundles. Private keys never leave this machine."""


@command.command(name="init", epilog="Example: edgepose keys init --home keys/")
@home_option
@click.option("--no-passphrase", is_flag=True, help="Write the private keys unencrypted.")
@json_option
def init(home: Path | None, no_passphrase: bool, json_target: str | None) -> None:
    """Make a key for each role: root, targets, snapshot, timestamp. The passphrase is asked for, or taken
    from EDGEPOSE_KEYS_PASSPHRASE.
    """  # noqa: D205
    from edgepose.host.keys.ceremony import make_keys

    place = key_home(home)
    passphrase = None if no_passphrase else new_passphrase()
    if passphrase is None:
        say(f"The private keys in {place.private} are NOT encrypted: whoever reads them can sign.")
    summary = make_keys(place, passphrase)
    advice = (
        f"Keep a copy of {place.folder}: without these keys enrolled devices take no update.\n"
        f"Enrol a device with {summary.root_file} (edgepose-device enroll)."
    )
    write_report(summary, json_target, f"{_describe(summary)}\n\n{advice}")


@command.command(name="show", epilog="Example: edgepose keys show --json -")
@home_option
@json_option
def show(home: Path | None, json_target: str | None) -> None:
    """Show key ids, thresholds, versions and when they expire; no secret."""
    from edgepose.host.keys.ceremony import summarize_keys

    summary = summarize_keys(key_home(home))
    write_report(summary, json_target, _describe(summary))


@command.command(name="rotate", epilog="Example: edgepose keys rotate --role timestamp")
@home_option
@click.option(
    "--role", "roles", type=click.Choice(_ROLES), multiple=True, help="Whose keys; all roles by default."
)
@click.option(
    "--threshold",
    type=click.IntRange(1, 10),
    metavar="N",
    help="Give these roles N keys, all of which must sign; as many as before by default.",
)
@json_option
def rotate(home: Path | None, roles: tuple[str, ...], threshold: int | None, json_target: str | None) -> None:
    """Replace keys by new ones in a new root that old and new keys sign. The old keys are revoked and their
    files removed; bundles signed with them must be signed again.
    """  # noqa: D205
    from edgepose.host.keys.ceremony import replace_keys

    place = key_home(home)
    summary = replace_keys(place, passphrase_of(place), roles or _ROLES, threshold)
    write_report(summary, json_target, _describe(summary))


@command.command(name="sign", epilog="Example: edgepose keys sign pose.epb -o signed.epb")
@click.argument("bundle", type=PATH, metavar="FILE.epb")
@output_option
@home_option
@click.option(
    "--valid-days",
    type=click.IntRange(1, 3650),
    default=90,
    show_default=True,
    help="How long devices take it.",
)
def sign(bundle: Path, output: Path, home: Path | None, valid_days: int) -> None:
    """Sign a finished bundle, or sign it again after its signatures expired or keys were rotated."""
    from edgepose.host.bundle.signing import sign_bundle
    from edgepose.host.keys.ceremony import home_signer

    place = key_home(home)
    sign_bundle(bundle, output, home_signer(place, passphrase_of(place), valid_days))
    say(f"Signed {output}, valid for {valid_days} days.")


def _describe(summary: KeySummary) -> str:
    rows = [
        (
            role.role,
            role.version,
            role.expires[:10],
            f"{role.threshold} of {len(role.key_ids)}",
            role.keys_here,
            ", ".join(key_id[:16] for key_id in role.key_ids),
        )
        for role in summary.roles
    ]
    head = [
        f"home          {summary.home}",
        f"root          {summary.fingerprint}",
        f"root file     {summary.root_file}",
        f"encrypted     {'yes' if summary.encrypted else 'NO'}",
    ]
    return "\n".join(head) + "\n\n" + table(("role", "version", "expires", "needs", "here", "key ids"), rows)
