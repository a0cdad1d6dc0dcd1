"""How a reader is connected with the processes of its source."""

from __future__ import annotations

from typing import Protocol

from edgepose.device.capture.supervised.pipe_end import RecordReader
from edgepose.device.capture.supervised.shared_pictures import ReadPictures
from edgepose.errors import DeviceError


class CaptureLink(Protocol):
    """Two pipes and two shared memories, used in turns by one capture process after the other."""

    @property
    def messages(self) -> RecordReader:
        """What they say."""
        ...

    @property
    def pictures(self) -> tuple[ReadPictures, ReadPictures]:
        """Where their pictures lie."""
        ...

    @property
    def keeper_pid(self) -> int:
        """The process that watches over the source; 0 where it belongs to another unit."""
        ...

    def send(self, request: bytes) -> None:
        """Sends a request; where nobody is there, nobody needs it."""
        ...

    def lost(self, *, silent: bool) -> DeviceError | None:
        """What it means that nothing is heard any more.

        Args:
            silent: The other side is there and says nothing.

        Returns:
            The end of the source, or None: it may come back, and everything begins anew then.
        """
        ...

    def close(self) -> None:
        """Ends it; closing twice is harmless."""
        ...
