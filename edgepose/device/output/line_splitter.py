"""Whole lines out of a stream of bytes."""

from __future__ import annotations

# Longer than any frame's line: a crowd of 200 persons with 33 keypoints takes 200 KiB.
LONGEST_LINE_BYTES = 4 << 20


class LineSplitter:
    """Collects bytes until a line is whole."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> list[bytes]:
        """Takes bytes as they came; returns the lines that are whole now, each with its newline.

        Raises:
            ValueError: A line has no end.
        """
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > LONGEST_LINE_BYTES:
            raise ValueError(f"A line is longer than {LONGEST_LINE_BYTES} bytes.")
        return [line + b"\n" for line in lines]
