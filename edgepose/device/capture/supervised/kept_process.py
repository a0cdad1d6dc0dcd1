"""A keeper of our own: started here, ended with this process."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from edgepose.device.capture.source_address import SourceAddress
from edgepose.device.capture.supervised.messages import MESSAGE_BYTES
from edgepose.device.capture.supervised.order import CaptureOrder
from edgepose.device.capture.supervised.pipe_end import RecordReader, write_record
from edgepose.device.capture.supervised.shared_pictures import ReadPictures
from edgepose.errors import DeviceError
from edgepose.sandbox.python_child import start_python
from edgepose.spec.records import to_json

_END_LIMIT_S = 3.0
# include/uapi/linux/fcntl.h: the memory may grow and never shrink under a reader that looks at it.
_F_ADD_SEALS, _F_SEAL_SHRINK = 1033, 2


@dataclass(frozen=True)
class CaptureOptions:
    """How a source is watched.

    Attributes:
        lock: Whether the processes of the source lock themselves in.
        patient: Whether a camera is tried for good, also one that never delivered.
        say: Takes a line for people when something happens to the camera.
        limits_s: Times that are not the defaults, by name.
    """

    lock: bool = True
    patient: bool = False
    say: Callable[[str], None] = field(default=lambda _line: None)
    limits_s: dict[str, float] = field(default_factory=dict)


class KeptProcess:
    """Starts the keeper; see :class:`edgepose.device.capture.supervised.link.CaptureLink`.

    Args:
        address: What it opens.
        options: How it is watched.
    """

    def __init__(self, address: SourceAddress, options: CaptureOptions) -> None:
        self._name = address.shown
        memories = (shared_memory(), shared_memory())
        messages, messages_end = os.pipe()
        requests_end, self._requests = os.pipe()
        os.set_blocking(self._requests, False)
        self.messages = RecordReader(messages, MESSAGE_BYTES)
        self.pictures = (ReadPictures(memories[0]), ReadPictures(memories[1]))
        self._own = [messages, self._requests, *memories]
        order = CaptureOrder(
            kind=address.kind,
            # The keeper's working folder is another one.
            location=os.path.abspath(address.location) if address.kind == "path" else address.reveal(),  # noqa: PTH100
            messages=messages_end,
            requests=requests_end,
            memories=memories,
            lock=options.lock,
            patient=options.patient,
            limits_s=tuple(options.limits_s.items()),
        )
        try:
            self._process = _started(order)
        finally:
            os.close(messages_end)
            os.close(requests_end)

    @property
    def keeper_pid(self) -> int:
        """Its number."""
        return self._process.pid

    def send(self, request: bytes) -> None:
        """Sends a request."""
        # While a camera is lost nobody reads them, and they are void afterwards.
        if self._own:
            with suppress(BlockingIOError):
                write_record(self._requests, request)

    def lost(self, *, silent: bool) -> DeviceError | None:
        """It cannot be started again: this process may be locked in."""
        who = f"The process that watches over {self._name}"
        if silent:
            return DeviceError(f"{who} does not answer.")
        code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return DeviceError(f"{who} {how}.")

    def close(self) -> None:
        """Ends the keeper and its child."""
        if not self._own:
            return
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            # Its child dies with it.
            self._process.kill()
            self._process.wait()
        own, self._own = self._own, []
        for descriptor in own:
            os.close(descriptor)
        for pictures in self.pictures:
            pictures.forget()


def shared_memory() -> int:
    """Memory that a process and its children share: it may grow and never shrinks under who reads it."""
    descriptor = os.memfd_create("edgepose-pictures", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK)
    return descriptor


def _started(order: CaptureOrder) -> subprocess.Popen[bytes]:
    # One thread of linear algebra: a fork keeps only one anyway.
    process = start_python(
        "edgepose.device.capture.supervised.keeper",
        changes={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        pass_fds=(order.messages, order.requests, *order.memories),
        start_new_session=True,
    )
    if process.stdin is not None:
        with suppress(BrokenPipeError):
            process.stdin.write(to_json(order).encode() + b"\n")
            process.stdin.flush()
    return process
