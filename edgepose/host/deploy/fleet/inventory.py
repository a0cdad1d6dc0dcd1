"""Reads an Ansible inventory with Ansible itself, and tells ssh what it says about each host."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepose.errors import ConfigError, MissingDependencyError
from edgepose.host.bounded_process import MIB, AnswerLimits, BoundedCall, run_bounded
from edgepose.host.deploy.ssh.remote_host import SshAddress
from edgepose.records.record import parse_json
from edgepose.sandbox.python_child import find_program

# Ten thousand hosts with a page of variables each.
_LIMITS = AnswerLimits(bytes=64 * MIB, silence_s=300.0, total_s=900.0)
_SSH_WORDS = {
    "ansible_host": "HostName",
    "ansible_user": "User",
    "ansible_port": "Port",
    "ansible_ssh_private_key_file": "IdentityFile",
}


@dataclass(frozen=True)
class FleetHost:
    """A device of the inventory."""

    name: str
    variables: Mapping[str, Any]

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of its host key for the first contact: ``edgepose_host_fingerprint``."""
        found = self.variables.get("edgepose_host_fingerprint")
        return None if found is None else str(found)

    def address(self, config: Path) -> SshAddress:
        """How ssh reaches it."""
        return SshAddress(self.name, self.fingerprint, config)


def ansible_program(name: str) -> str:
    """Where a program of Ansible is: beside this Python, else in the path.

    Raises:
        MissingDependencyError: It is not installed.
    """
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else find_program(name)
    if found is None:
        raise MissingDependencyError(
            f"{name} is not installed, and fleets need it.", "pip install 'edgepose[fleet]'"
        )
    return found


def read_inventory(inventory: Path, limit: str | None = None) -> list[FleetHost]:
    """The hosts of any Ansible inventory, in its order; the limit is a host pattern of Ansible, None for all.

    Raises:
        ConfigError: There is none, it cannot be read, or it has no host.
        MissingDependencyError: Ansible is not installed.
    """
    if not inventory.exists():
        raise ConfigError(f"There is no inventory {inventory}.")
    call = [ansible_program("ansible-inventory"), "-i", str(inventory.absolute()), "--list"]
    call += [] if limit is None else ["--limit", limit]
    # An inventory may be a program, and its plug-ins ask services.
    asked = BoundedCall(call, f"Ansible, about {inventory},", _LIMITS, changes=ansible_environment())
    done = run_bounded(replace(asked, error=ConfigError))
    if done.code or "Failed to parse" in done.stderr:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise ConfigError(f"Ansible cannot read {inventory}: {said[-1] if said else 'no message'}.")
    found = parse_json(done.stdout, f"What Ansible says of {inventory}")
    if not isinstance(found, dict):
        raise ConfigError(f"What Ansible says of {inventory} is no object.")
    variables = found.get("_meta", {}).get("hostvars", {})
    names = list(dict.fromkeys(_hosts(found, "all")))
    if not names:
        raise ConfigError(f"{inventory} has no host{f' for {limit}' if limit else ''}.")
    return [FleetHost(name, variables.get(name, {})) for name in names]


def ssh_config_text(hosts: list[FleetHost]) -> str:
    """Configuration for ssh: what the inventory says first, then the user's own.

    Raises:
        ConfigError: A value could not stand in it.
    """
    parts = []
    for host in hosts:
        SshAddress(host.name)
        lines = [f"Host {host.name}"]
        for variable, word in _SSH_WORDS.items():
            value = host.variables.get(variable)
            if value is None:
                continue
            text = str(value)
            if variable == "ansible_ssh_private_key_file" and not text.startswith(("/", "~", "%", "$")):
                # The working folder of ssh is another one.
                text = str(Path(text).absolute())
            if any(sign in text for sign in '\n\r"') or not text:
                raise ConfigError(f"{variable} of {host.name} is {text!r}, which ssh cannot take.")
            lines.append(f'  {word} "{text}"')
        parts.append("\n".join(lines))
    parts.append("Match all\nInclude ~/.ssh/config")
    return "\n".join(parts) + "\n"


def ansible_environment() -> dict[str, str]:
    """Changes to the environment of Ansible: no colours, no cows, no questions.

    Ansible would read ``ansible.cfg`` of its working folder, which can name folders of plugins, that is
    code; its working folder is the root. A file that the user names in ``ANSIBLE_CONFIG`` stays what it is.
    """
    named = os.environ.get("ANSIBLE_CONFIG")
    return {
        **({} if named is None else {"ANSIBLE_CONFIG": str(Path(named).expanduser().absolute())}),
        "ANSIBLE_NOCOLOR": "1",
        "ANSIBLE_NOCOWS": "1",
        "ANSIBLE_RETRY_FILES_ENABLED": "0",
        "ANSIBLE_DEPRECATION_WARNINGS": "0",
        "ANSIBLE_LOCALHOST_WARNING": "0",
        "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0",
    }


def _hosts(found: dict[str, Any], group: str) -> list[str]:
    entry = found.get(group, {})
    children = [name for child in entry.get("children", []) for name in _hosts(found, child)]
    return [*entry.get("hosts", []), *children]
