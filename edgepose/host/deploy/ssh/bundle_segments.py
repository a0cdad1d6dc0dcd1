"""Cuts a bundle at its files, so that a device gets only those that it lacks."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any

from edgepose.trust.bundle_archive import BLOCK_BYTES, header_size_bytes, padding_bytes

# Smaller files cost more as files of their own than they save.
_INLINE_BYTES = 4096


@dataclass(frozen=True)
class Segment:
    """A part of a file.

    Attributes:
        start: Its first byte.
        size: Its bytes.
        sha256: Its digest where it is kept on the device; None where it travels with the request.
    """

    start: int
    size: int
    sha256: str | None


def cut(content: bytes) -> list[Segment]:
    """The segments of a bundle, in order, without a gap.

    Args:
        content: A whole bundle; what cannot be told as one stays inline.
    """
    segments: list[Segment] = []
    position = begun = 0
    while position + BLOCK_BYTES <= len(content):
        size = header_size_bytes(content[position : position + BLOCK_BYTES])
        start = position + BLOCK_BYTES
        if size is None or start + size > len(content):
            break
        if size >= _INLINE_BYTES:
            segments.append(Segment(begun, start - begun, None))
            segments.append(Segment(start, size, hashlib.sha256(content[start : start + size]).hexdigest()))
            begun = start + size
        position = start + size + padding_bytes(size)
    if begun < len(content):
        segments.append(Segment(begun, len(content) - begun, None))
    return segments


def as_request(content: bytes, segments: list[Segment]) -> list[dict[str, Any]]:
    """The segments as the device's store takes them."""
    return [
        {"sha256": part.sha256}
        if part.sha256
        else {"inline": base64.b64encode(content[part.start : part.start + part.size]).decode()}
        for part in segments
    ]
