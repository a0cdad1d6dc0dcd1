"""Commands that a device behind ssh answers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.cli.install_report import describe_status
from edgepose.errors import DeployError, MissingDependencyError
from edgepose.spec.benchmark_report import BenchmarkReport
from edgepose.spec.device_logs import DeviceLogs
from edgepose.spec.device_status import StatusReport
from edgepose.spec.drift_record import DriftStatus, RetrainingRequest
from edgepose.spec.records import from_builtins

if TYPE_CHECKING:
    from edgepose.device.capture.source_address import SourceAddress
    from edgepose.host.bounded_process import AnswerLimits
    from edgepose.host.deploy.ssh.connection import Connection


def remote_status(host: str, fingerprint: str | None, ssh_config: Path | None) -> tuple[StatusReport, str]:
    """What a device says of its root, as record and as text.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    answer, root = _ask(host, fingerprint, ssh_config, "status")
    status = from_builtins(answer, StatusReport, f"The status of {host}", DeployError)
    return status, describe_status(Path(root), status)


def remote_rollback(
    host: str, fingerprint: str | None, ssh_config: Path | None
) -> tuple[dict[str, Any], str]:
    """Has a device return to the version before.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    answer, root = _ask(host, fingerprint, ssh_config, "rollback")
    version = answer.get("bundle_version")
    if not isinstance(version, int):
        raise DeployError(f"{host} did not say which version is active now.", "Look with: edgepose status")
    return answer, f"{host}: version {version} is active again in {root}"


def remote_logs(host: str, fingerprint: str | None, ssh_config: Path | None, lines: int) -> DeviceLogs:
    """What happened on a device.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    answer, _ = _ask(host, fingerprint, ssh_config, "logs", "--lines", str(lines))
    return from_builtins(answer, DeviceLogs, f"What {host} says of its logs", DeployError)


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
        words = ["telemetry", what, "--root", connection.root, *more]
        return connection.installed().ask(words, limits=_telemetry_limits())


def remote_drift(device: tuple[str, str | None, Path | None]) -> DriftStatus:
    """What a device knows about drift.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(*device) as connection:
        answer = connection.installed().ask(["drift", "show", "--root", connection.root])
    return from_builtins(answer, DriftStatus, f"What {device[0]} says of drift", DeployError)


def remote_request(device: tuple[str, str | None, Path | None]) -> RetrainingRequest:
    """What a device asks for.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(*device) as connection:
        answer = connection.installed().ask(["drift", "request", "--root", connection.root])
    return from_builtins(answer, RetrainingRequest, f"The request of {device[0]}", DeployError)


def remote_benchmark(
    device: tuple[str, str | None, Path | None],
    model: Path | None,
    threads: int | None,
    length: tuple[float | None, int | None],
    source: SourceAddress | None,
) -> BenchmarkReport:
    """Measures what is installed on a device.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.
        model: What must be installed there, as a model file or a bundle; None takes what there is.
        threads: CPU threads; None takes the profile's.
        length: Seconds and samples asked for.
        source: A camera or video there; None measures no age of frames.

    Raises:
        DeployError: Something else is installed there.
        EdgeposeError: As ``connect`` and the device raise.
    """
    given = {"--threads": threads, "--duration-s": length[0], "--samples": length[1]}
    options = [word for name, value in given.items() if value is not None for word in (name, str(value))]
    words: list[bytes] = []
    if source is not None and source.kind == "rtsp":
        # A command line on the device would show its password there.
        options, words = [*options, "--camera-file", "-"], [source.reveal().encode()]
    elif source is not None:
        options = [*options, "--source", source.typed]
    with _connected(*device) as connection:
        if model is not None:
            _require_installed(device[0], model, connection.ask("status").get("model_sha256"))
        answer = connection.ask("benchmark", *options, stdin=words, limits=_benchmark_limits(length[0]))
    return from_builtins(answer, BenchmarkReport, f"The benchmark of {device[0]}", DeployError)


def _telemetry_limits() -> AnswerLimits:
    from edgepose.host.bounded_process import MIB, AnswerLimits

    # A row of at most 3 KiB of JSON for each minute of the month that a device keeps.
    return AnswerLimits(bytes=160 * MIB, silence_s=180.0, total_s=1800.0)


def _benchmark_limits(duration_s: float | None) -> AnswerLimits:
    from dataclasses import replace

    from edgepose.host.deploy.ssh.remote_host import LONG

    # It is silent for as long as it measures.
    asked_s = duration_s or 0.0
    return replace(LONG, silence_s=LONG.silence_s + 2 * asked_s, total_s=(LONG.total_s or 0.0) + 3 * asked_s)


def _require_installed(host: str, model: Path, installed: str | None) -> None:
    from edgepose.inference.bundle_model import model_file_of
    from edgepose.trust.digests import sha256_of_file

    with model_file_of(model) as file:
        expected = sha256_of_file(file)
    if expected != installed:
        raise DeployError(
            f"{host} has the model {(installed or 'none')[:12]} installed, {model.name} is {expected[:12]}.",
            "Deploy it first, or leave MODEL out to measure what is installed.",
        )


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
