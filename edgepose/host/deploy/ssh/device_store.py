"""The device's content-addressed store: what it lacks is sent, what it has is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from edgepose.errors import DeployError
from edgepose.host.bounded_process import AnswerLimits
from edgepose.host.deploy.ssh.remote_host import LONG, USUAL, RemoteHost
from edgepose.host.deploy.ssh.ssh_failure import command_failure
from edgepose.spec.records import parse_json

_CHUNK = 1 << 18
# A link so slow that a runtime of 100 MiB takes three hours is no use to anybody.
_SLOWEST_BYTES_PER_S = 10_000
Sent = Callable[[int, int], None]


@dataclass(frozen=True)
class Blob:
    """A file to send.

    Attributes:
        sha256: Its digest.
        size: Its bytes.
        content: The bytes, or the file that has them.
    """

    sha256: str
    size: int
    content: bytes | Path


class DeviceStore:
    """The store in a folder of a device.

    Args:
        host: The device.
        python: Its interpreter.
        base: The folder there.
    """

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
        """Sends files, and then requests that use them, in one call.

        Args:
            blobs: Files.
            then: Requests, see ``remote/store.py``.
            sent: Called with the bytes sent and those to send.

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


def probe_script() -> str:
    """The text of ``remote/probe.py``."""
    return _script("probe.py")


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
