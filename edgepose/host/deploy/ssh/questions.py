"""Questions that a device behind ssh answers, each on a connection of its own; errors are those of both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgepose.errors import DeployError
from edgepose.host.bounded_process import MIB, AnswerLimits
from edgepose.host.deploy.ssh.connection import connect
from edgepose.host.deploy.ssh.remote_host import LONG, SshAddress
from edgepose.records.benchmark_report import BenchmarkReport
from edgepose.records.device_status import DeviceLogs, StatusReport
from edgepose.records.drift_record import DriftStatus, RetrainingRequest
from edgepose.records.telemetry_record import TelemetryReport
from edgepose.runtime.bundle_model import model_file_of
from edgepose.trust.digests import sha256_of_file

# A row of at most 3 KiB of JSON for each minute of the month that a device keeps.
_TELEMETRY = AnswerLimits(bytes=160 * MIB, silence_s=180.0, total_s=1800.0)


@dataclass(frozen=True)
class Questions:
    """What one device is asked."""

    address: SshAddress

    def status(self) -> tuple[Path, StatusReport]:
        """The device root there, and what is in it."""
        with connect(self.address) as connection:
            return Path(connection.root), connection.ask_record(["status"], StatusReport)

    def roll_back(self) -> tuple[str, dict[str, Any]]:
        """Has the device return to the version before; its root and its record."""
        with connect(self.address) as connection:
            answer, root = connection.ask("rollback"), connection.root
        if not isinstance(answer.get("bundle_version"), int):
            raise DeployError(
                f"{self.address.host} did not say which version is active now.", "Look with: edgepose status"
            )
        return root, answer

    def logs(self, lines: int) -> DeviceLogs:
        """What happened there, with so many lines of its service."""
        with connect(self.address) as connection:
            return connection.ask_record(["logs", "--lines", str(lines)], DeviceLogs)

    def telemetry(self, minutes: int | None) -> TelemetryReport:
        """What ``telemetry show`` reports there; the newest minutes, or all."""
        more = [] if minutes is None else ["--minutes", str(minutes)]
        with connect(self.address) as connection:
            return connection.ask_record(["telemetry", "show", *more], TelemetryReport, limits=_TELEMETRY)

    def purge(self) -> int:
        """Has the device delete its telemetry; how many bytes are free again."""
        with connect(self.address) as connection:
            words = ["telemetry", "purge", "--yes", "--root", connection.root]
            freed = connection.installed().ask(words).get("freed_bytes")
        if not isinstance(freed, int):
            raise DeployError(
                f"{self.address.host} did not say what it deleted.", "Look with: edgepose telemetry show"
            )
        return freed

    def drift(self) -> DriftStatus:
        """What the device knows about drift."""
        with connect(self.address) as connection:
            return connection.ask_record(["drift", "show"], DriftStatus)

    def request(self) -> RetrainingRequest:
        """What the device asks for."""
        with connect(self.address) as connection:
            return connection.ask_record(["drift", "request"], RetrainingRequest)

    def benchmark(
        self, model: Path | None, options: list[str], hidden: list[bytes], duration_s: float
    ) -> BenchmarkReport:
        """Measures what is installed there.

        Args:
            model: What must be installed there, as a model file or a bundle; None takes what there is.
            options: Of ``edgepose-device benchmark``.
            hidden: Lines for its standard input.
            duration_s: How long it was asked to measure; it is silent for so long.
        """
        limits = replace(
            LONG,
            bytes=16 * MIB,
            silence_s=LONG.silence_s + 2 * duration_s,
            total_s=(LONG.total_s or 0.0) + 3 * duration_s,
        )
        with connect(self.address) as connection:
            if model is not None:
                installed = connection.ask_record(["status"], StatusReport).model_sha256
                _require_installed(self.address.host, model, installed)
            return connection.ask_record(["benchmark", *options], BenchmarkReport, hidden, limits)


def _require_installed(host: str, model: Path, installed: str | None) -> None:
    with model_file_of(model) as file:
        expected = sha256_of_file(file)
    if expected != installed:
        raise DeployError(
            f"{host} has the model {(installed or 'none')[:12]} installed, {model.name} is {expected[:12]}.",
            "Deploy it first, or leave MODEL out to measure what is installed.",
        )
