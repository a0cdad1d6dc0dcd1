"""Which device: what ssh calls it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edgepose.errors import ConfigError

# A user and a host name, an address or an alias of ssh's configuration. A leading hyphen would be an option.
_FORM = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]*@)?[A-Za-z0-9_:\[][A-Za-z0-9_.:%\[\]-]*")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class SshAddress:
    """How to reach a device.

    Attributes:
        host: ``[user@]host``, or an alias of ssh's configuration.
        fingerprint: Fingerprint of its host key for the first contact, as ``ssh-keygen -l`` writes it, or
            None for a device that ssh knows already.
        config: Configuration that ssh reads instead of the user's, or None.
    """

    host: str
    fingerprint: str | None = None
    config: Path | None = None

    def __post_init__(self) -> None:
        if not _FORM.fullmatch(self.host):
            raise ConfigError(
                f"'{self.host}' is no device address, expected USER@HOST or an alias of ssh's configuration.",
                "A port or a jump host belongs into ~/.ssh/config.",
            )
        if self.fingerprint is not None and not _FINGERPRINT.fullmatch(self.fingerprint):
            raise ConfigError(
                f"'{self.fingerprint}' is no fingerprint, expected SHA256: and 43 characters.",
                "On the device: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
            )
