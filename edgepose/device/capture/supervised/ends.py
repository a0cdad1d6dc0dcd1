"""What a capture process has been given."""

from __future__ import annotations

from dataclasses import dataclass

from edgepose.device.capture.supervised.messages import CaptureMessage, MessageKind
from edgepose.device.capture.supervised.pipe_end import write_record


@dataclass(frozen=True)
class ChildEnds:
    """What a capture process may use.

    Attributes:
        incarnation: Its number.
        messages: Descriptor of the pipe to the reader.
        requests: Descriptor of the pipe from the reader.
        memory: Descriptor of the shared memory.
        reports: Descriptor of the pipe to the keeper.
        keeper: The keeper's process.
    """

    incarnation: int
    messages: int
    requests: int
    memory: int
    reports: int
    keeper: int

    def say(self, kind: MessageKind, text: bytes = b"") -> bool:
        """To the reader; false where it is gone."""
        return write_record(self.messages, CaptureMessage(kind, self.incarnation, text=text).packed())

    def report(self, kind: MessageKind, text: bytes = b"") -> bool:
        """To the keeper; false where it is gone."""
        return write_record(self.reports, CaptureMessage(kind, self.incarnation, text=text).packed())
