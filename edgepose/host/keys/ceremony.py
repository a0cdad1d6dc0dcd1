"""Making and replacing keys by this machine's clock, each with the summary of what is there then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from edgepose.host.bundle.signing import no_key_library
from edgepose.host.keys.key_home import KeyHome

if TYPE_CHECKING:
    from edgepose.host.keys.summary import KeySummary


def make_keys(home: KeyHome, passphrase: str | None) -> KeySummary:
    """Makes a key home.

    Raises:
        ConfigError: There are keys already, or the home cannot be written.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    try:
        from edgepose.host.keys.repository import init_keys
    except ModuleNotFoundError as problem:
        raise no_key_library() from problem
    from edgepose.host.keys.summary import summarize_keys

    init_keys(home, passphrase, _now())
    return summarize_keys(home)


def replace_keys(
    home: KeyHome, passphrase: str | None, roles: Sequence[str], threshold: int | None
) -> KeySummary:
    """Rotates keys.

    Raises:
        ConfigError: There are no keys, or too many roots were made.
        TrustError: The passphrase is wrong, or too few of the root's keys are here.
        MissingDependencyError: ``cryptography`` is not installed.
    """
    try:
        from edgepose.host.keys.repository import rotate_keys
    except ModuleNotFoundError as problem:
        raise no_key_library() from problem
    from edgepose.host.keys.summary import summarize_keys

    rotate_keys(home, passphrase, roles, threshold, _now())
    return summarize_keys(home)


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
