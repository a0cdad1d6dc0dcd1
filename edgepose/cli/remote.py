"""Commands that a device behind ssh answers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.cli.install_report import describe_status
from edgepose.errors import MissingDependencyError
from edgepose.spec.device_logs import DeviceLogs
from edgepose.spec.device_status import StatusReport
from edgepose.spec.records import from_builtins

if TYPE_CHECKING:
    from edgepose.host.deploy.ssh.connection import Connection


def remote_status(host: str, fingerprint: str | None, ssh_config: Path | None) -> tuple[StatusReport, str]:
    """What a device says of its root, as record and as text.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    answer, root = _ask(host, fingerprint, ssh_config, "status")
    status = from_builtins(answer, StatusReport, f"status of {host}")
    return status, describe_status(Path(root), status)


def remote_rollback(
    host: str, fingerprint: str | None, ssh_config: Path | None
) -> tuple[dict[str, Any], str]:
    """Has a device return to the version before.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    answer, root = _ask(host, fingerprint, ssh_config, "rollback")
    return answer, f"{host}: version {answer['bundle_version']} is active again in {root}"


def remote_logs(host: str, fingerprint: str | None, ssh_config: Path | None, lines: int) -> DeviceLogs:
    """What happened on a device.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    answer, _ = _ask(host, fingerprint, ssh_config, "logs", "--lines", str(lines))
    return from_builtins(answer, DeviceLogs, f"logs of {host}")


def remote_telemetry(device: tuple[str, str | None, Path | None], what: str, *more: str) -> dict[str, Any]:
    """What ``telemetry show`` or ``telemetry purge`` reports on a device.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.
        what: The subcommand.
        more: Its further arguments.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(*device) as connection:
        return connection.installed().ask(["telemetry", what, "--root", connection.root, *more])


def _ask(
    host: str, fingerprint: str | None, ssh_config: Path | None, what: str, *more: str
) -> tuple[dict[str, Any], str]:
    with _connected(host, fingerprint, ssh_config) as connection:
        return connection.ask(what, *more), connection.root


def _connected(
    host: str, fingerprint: str | None, ssh_config: Path | None
) -> AbstractContextManager[Connection]:
    try:
        from edgepose.host.deploy.ssh.address import SshAddress
        from edgepose.host.deploy.ssh.connection import connect
    except ImportError as problem:
        raise MissingDependencyError(
            "This is a device; --host is an option of edgepose on the host.", "Leave it out here."
        ) from problem

    return connect(SshAddress(host, fingerprint, ssh_config))
