"""The device's content-addressed store: what it lacks is sent, what it has is not.

``edgepose-device`` on the device, called over ssh; its errors become ours, with their family.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from edgepose.accelerators import detections
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
from edgepose.host.deploy.ssh.remote_host import LONG, MUCH, USUAL, RemoteHost, command_failure
from edgepose.records.record import RecordType, decode_json, parse_json

_CHUNK = 1 << 18
# A link so slow that a runtime of 100 MiB takes three hours is no use to anybody.
_SLOWEST_BYTES_PER_S = 10_000
Sent = Callable[[int, int], None]


@dataclass(frozen=True)
class Blob:
    """A file to send."""

    sha256: str
    size: int
    content: bytes | Path


class DeviceStore:
    """The store in a folder of a device."""

    def __init__(self, host: RemoteHost, python: str, base: str) -> None:
        self._host, self._python, self._base = host, python, base
        self.bytes_sent = 0

    def missing(self, digests: Iterable[str]) -> set[str]:
        """Which of the digests the device lacks.

        Raises:
            EdgeposeError: As ``send``.
        """
        asked = set(digests)
        answers = self._ask([_line({"op": "missing", "sha256": sorted(asked)})])
        found = answers[0].get("result") if len(answers) == 1 else None
        if not isinstance(found, list) or not all(name in asked for name in found if isinstance(name, str)):
            raise DeployError(f"{self._host.name} did not say which files it lacks.", "Deploy again.")
        return {name for name in found if isinstance(name, str)}

    def send(
        self, blobs: Iterable[Blob], then: Iterable[dict[str, Any]], sent: Sent = lambda _done, _all: None
    ) -> None:
        """Sends files, and then requests that use them (see ``remote/store.py``), in one call.

        ``sent`` is called with the bytes sent and those to send.

        Raises:
            DeployError: The device is full or read-only, another deployment works there, or the link
                was lost.
            TrustError: Its host key is not the known one.
        """
        files = list(blobs)
        total = sum(blob.size for blob in files)
        limits = replace(LONG, total_s=LONG.silence_s + total / _SLOWEST_BYTES_PER_S)
        self._ask(self._stream(files, total, sent), list(then), limits)

    def _stream(self, blobs: list[Blob], total: int, sent: Sent) -> Iterator[bytes]:
        done = 0
        for blob in blobs:
            yield _line({"op": "put", "sha256": blob.sha256, "size": blob.size})
            for piece in _pieces(blob.content):
                yield piece
                done += len(piece)
                sent(done, total)

    def _ask(
        self, head: Iterable[bytes], then: Iterable[dict[str, Any]] = (), limits: AnswerLimits = USUAL
    ) -> list[dict[str, Any]]:
        def counted() -> Iterator[bytes]:
            for piece in head:
                self.bytes_sent += len(piece)
                yield piece
            for request in then:
                line = _line(request)
                self.bytes_sent += len(line)
                yield line

        done = self._host.run([self._python, "-I", "-c", store_script(), self._base], counted(), limits)
        if done.code != 0:
            raise command_failure(self._host.name, "python3", done.code, done.stderr)
        where = f"{self._host.name}'s answer about its files"
        answers = [parse_json(line, where, DeployError) for line in done.stdout.splitlines()]
        for answer in answers:
            if not isinstance(answer, dict):
                raise DeployError(f"{where} is {str(answer)[:80]!r}, expected an object.")
            if "error" in answer:
                full = "Free some space there." if answer.get("full") else "Run the command again."
                raise DeployError(f"{self._host.name} could not take the files: {answer['error']}.", full)
        return answers


def store_script() -> str:
    """The text of ``remote/store.py``."""
    return _script("store.py")


def probe_words() -> tuple[str, str]:
    """The text of ``remote/probe.py``, and its argument: how accelerators are told."""
    signs = json.dumps([asdict(sign) for sign in detections()], separators=(",", ":"))
    return _script("probe.py"), signs


def _script(name: str) -> str:
    folder = resources.files("edgepose.host.deploy.ssh.remote")
    return folder.joinpath(name).read_text(encoding="utf-8")


def _line(request: dict[str, Any]) -> bytes:
    return json.dumps(request, separators=(",", ":")).encode() + b"\n"


def _pieces(content: bytes | Path) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield from (content[start : start + _CHUNK] for start in range(0, len(content), _CHUNK))
        return
    with content.open("rb") as stream:
        while piece := stream.read(_CHUNK):
            yield piece


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
        command: What starts it, for example ``/var/lib/edgepose/bin/edgepose-device``.
    """

    host: RemoteHost
    command: tuple[str, ...]

    def ask(
        self, arguments: Sequence[str], stdin: Iterable[bytes] = (), limits: AnswerLimits = USUAL
    ) -> dict[str, Any]:
        """Runs a subcommand with ``--json -`` and returns what it reports; ``stdin`` comes in pieces.

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
