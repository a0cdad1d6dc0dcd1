"""``edgepose-device`` on the device, called over ssh; its errors become ours, with their family."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgepose.errors import (
    ConfigError,
    DeployError,
    DeviceError,
    EdgeposeError,
    GateFailedError,
    MissingDependencyError,
    ModelError,
    TrustError,
)
from edgepose.host.bounded_process import AnswerLimits
from edgepose.host.deploy.ssh.remote_host import MUCH, USUAL, RemoteHost
from edgepose.spec.records import RecordType, decode_json, parse_json

_FAMILIES: dict[int, type[EdgeposeError]] = {
    family.exit_code: family
    for family in (
        ConfigError,
        MissingDependencyError,
        ModelError,
        GateFailedError,
        TrustError,
        DeployError,
        DeviceError,
    )
}
_MESSAGE, _HINT = "error: ", "  hint: "


@dataclass(frozen=True)
class DeviceProgram:
    """The program of a device.

    Attributes:
        host: The device.
        command: What starts it, for example ``/var/lib/edgepose/bin/edgepose-device``.
    """

    host: RemoteHost
    command: tuple[str, ...]

    def ask(
        self, arguments: Sequence[str], stdin: Iterable[bytes] = (), limits: AnswerLimits = USUAL
    ) -> dict[str, Any]:
        """Runs a subcommand with ``--json -`` and returns what it reports.

        Args:
            arguments: The subcommand and its arguments.
            stdin: Pieces of its standard input.
            limits: What its answer may take.

        Raises:
            EdgeposeError: Of the family that the device reported, or as ``RemoteHost.run`` raises.
        """
        answer = self._answer(arguments, stdin, limits)
        found = parse_json(answer, f"{self.host.name}'s answer to '{arguments[0]}'", DeployError)
        if not isinstance(found, dict):
            raise DeployError(
                f"{self.host.name} answered {answer[:80]!r} to '{arguments[0]}', expected an object.",
                "Deploy again; if it stays so, report it.",
            )
        return found

    def ask_record(
        self,
        arguments: Sequence[str],
        record: type[RecordType],
        stdin: Iterable[bytes] = (),
        limits: AnswerLimits = MUCH,
    ) -> RecordType:
        """The same for an answer that is a record, which may be long.

        Args:
            arguments: The subcommand and its arguments.
            record: What it reports.
            stdin: Pieces of its standard input.
            limits: What its answer may take.

        Raises:
            EdgeposeError: As ``ask``; DeployError where the answer is another record.
        """
        where = f"{self.host.name}'s answer to '{arguments[0]}'"
        return decode_json(self._answer(arguments, stdin, limits), record, where, DeployError)

    def _answer(self, arguments: Sequence[str], stdin: Iterable[bytes], limits: AnswerLimits) -> bytes:
        done = self.host.run([*self.command, *arguments, "--json", "-"], stdin, limits)
        if done.code != 0:
            raise reported_error(self.host.name, done.code, done.stderr)
        return done.stdout


def reported_error(host: str, code: int, stderr: str) -> EdgeposeError:
    """The error that the program on the device ended with."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    message = next((line.removeprefix(_MESSAGE) for line in lines if line.startswith(_MESSAGE)), "")
    hint = next((line.removeprefix(_HINT) for line in lines if line.startswith(_HINT)), "")
    family = _FAMILIES.get(code)
    if family is None or not message:
        said = lines[-1] if lines else "nothing"
        return DeployError(
            f"edgepose-device on {host} ended with code {code} and said: {said}",
            "If its Python was replaced, move edgepose's folder there aside and deploy anew.",
        )
    return family(f"On {host}: {message}", hint)
