"""Whole lines out of a stream of bytes, and the schemas of those that tell more than poses."""

from __future__ import annotations

PAGE, EVENT = "edgepose.page/1", "edgepose.page_event/1"
# Longer than any frame's line: a crowd of 200 persons with 33 keypoints takes 200 KiB.
LONGEST_LINE_BYTES = 4 << 20


class LineSplitter:
    """Collects bytes until a line is whole; a line without an end is left out and costs no memory."""

    def __init__(self) -> None:
        self._rest = b""
        self._skips = False
        self.left_out = 0

    def take(self, piece: bytes) -> list[bytes]:
        """Takes bytes as they came; returns the lines that are whole now, each with its newline."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if lines and self._skips:
            # The end of the line that was too long.
            del lines[0]
            self._skips = False
        if len(self._rest) > LONGEST_LINE_BYTES or self._skips:
            self.left_out += not self._skips
            self._rest, self._skips = b"", True
        return [line + b"\n" for line in lines]
