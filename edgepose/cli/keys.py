"""``edgepose keys``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepose.cli.options import PATH, json_option, output_option
from edgepose.cli.output import say, table, write_report
from edgepose.cli.signing import home_option, key_home, new_passphrase, passphrase_of

if TYPE_CHECKING:
    from edgepose.host.keys.summary import KeySummary

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
    from edgepose.host.keys.summary import summarize_keys

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
    from edgepose.host.bundle.signing import home_signer, sign_bundle

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
