"""Commands that a device behind ssh answers."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgepose.cli.status import describe_status
from edgepose.errors import DeployError, MissingDependencyError
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.device_status import DeviceLogs, StatusReport
from edgepose.records.drift_record import DriftStatus, RetrainingRequest
from edgepose.records.telemetry_record import TelemetryReport

if TYPE_CHECKING:
    from edgepose.device.capture.source_address import SourceAddress
    from edgepose.host.bounded_process import AnswerLimits
    from edgepose.host.deploy.ssh.connection import Connection


def remote_status(host: str, fingerprint: str | None, ssh_config: Path | None) -> tuple[StatusReport, str]:
    """What a device says of its root, as record and as text.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(host, fingerprint, ssh_config) as connection:
        status = connection.ask_record(["status"], StatusReport)
        return status, describe_status(Path(connection.root), status)


def remote_rollback(
    host: str, fingerprint: str | None, ssh_config: Path | None
) -> tuple[dict[str, Any], str]:
    """Has a device return to the version before.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(host, fingerprint, ssh_config) as connection:
        answer, root = connection.ask("rollback"), connection.root
    version = answer.get("bundle_version")
    if not isinstance(version, int):
        raise DeployError(f"{host} did not say which version is active now.", "Look with: edgepose status")
    return answer, f"{host}: version {version} is active again in {root}"


def remote_logs(host: str, fingerprint: str | None, ssh_config: Path | None, lines: int) -> DeviceLogs:
    """What happened on a device.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(host, fingerprint, ssh_config) as connection:
        return connection.ask_record(["logs", "--lines", str(lines)], DeviceLogs)


def remote_telemetry(device: tuple[str, str | None, Path | None], minutes: int | None) -> TelemetryReport:
    """What ``telemetry show`` reports on a device.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.
        minutes: The newest so many; None for all.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    more = [] if minutes is None else ["--minutes", str(minutes)]
    with _connected(*device) as connection:
        return connection.ask_record(
            ["telemetry", "show", *more], TelemetryReport, limits=_telemetry_limits()
        )


def remote_purge(device: tuple[str, str | None, Path | None]) -> int:
    """Has a device delete its telemetry; how many bytes are free again.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(*device) as connection:
        words = ["telemetry", "purge", "--yes", "--root", connection.root]
        freed = connection.installed().ask(words).get("freed_bytes")
    if not isinstance(freed, int):
        raise DeployError(f"{device[0]} did not say what it deleted.", "Look with: edgepose telemetry show")
    return freed


def remote_drift(device: tuple[str, str | None, Path | None]) -> DriftStatus:
    """What a device knows about drift.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(*device) as connection:
        return connection.ask_record(["drift", "show"], DriftStatus)


def remote_request(device: tuple[str, str | None, Path | None]) -> RetrainingRequest:
    """What a device asks for.

    Args:
        device: As ssh calls it, its fingerprint at first contact, a configuration for ssh.

    Raises:
        EdgeposeError: As ``connect`` and the device raise.
    """
    with _connected(*device) as connection:
        return connection.ask_record(["drift", "request"], RetrainingRequest)


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
            _require_installed(device[0], model, connection.ask_record(["status"], StatusReport).model_sha256)
        return connection.ask_record(
            ["benchmark", *options], BenchmarkReport, words, _benchmark_limits(length[0])
        )


def _telemetry_limits() -> AnswerLimits:
    from edgepose.host.bounded_process import MIB, AnswerLimits

    # A row of at most 3 KiB of JSON for each minute of the month that a device keeps.
    return AnswerLimits(bytes=160 * MIB, silence_s=180.0, total_s=1800.0)


def _benchmark_limits(duration_s: float | None) -> AnswerLimits:
    from dataclasses import replace

    from edgepose.host.bounded_process import MIB
    from edgepose.host.deploy.ssh.remote_host import LONG

    # It is silent for as long as it measures.
    asked_s = duration_s or 0.0
    return replace(
        LONG,
        bytes=16 * MIB,
        silence_s=LONG.silence_s + 2 * asked_s,
        total_s=(LONG.total_s or 0.0) + 3 * asked_s,
    )


def _require_installed(host: str, model: Path, installed: str | None) -> None:
    from edgepose.runtime.bundle_model import model_file_of
    from edgepose.trust.digests import sha256_of_file

    with model_file_of(model) as file:
        expected = sha256_of_file(file)
    if expected != installed:
        raise DeployError(
            f"{host} has the model {(installed or 'none')[:12]} installed, {model.name} is {expected[:12]}.",
            "Deploy it first, or leave MODEL out to measure what is installed.",
        )


def _connected(
    host: str, fingerprint: str | None, ssh_config: Path | None
) -> AbstractContextManager[Connection]:
    try:
        from edgepose.host.deploy.ssh.connection import connect
        from edgepose.host.deploy.ssh.remote_host import SshAddress
    except ImportError as problem:
        raise MissingDependencyError(
            "This is a device; --host is an option of edgepose on the host.", "Leave it out here."
        ) from problem

    return connect(SshAddress(host, fingerprint, ssh_config))
