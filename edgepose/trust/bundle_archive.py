"""The bundle's container: an uncompressed USTAR archive in exactly one possible form.

Every header is a function of name and size alone: a regular file, mode 0644, no owner, no time. The
reader compares headers with the one the writer would have made, so links, devices, extensions and
hidden data between the files have no place to be. Any ``tar`` can list and unpack it (POSIX.1-1988).
"""

from __future__ import annotations

BLOCK_BYTES = 512
END_OF_ARCHIVE = bytes(2 * BLOCK_BYTES)
_TYPES = {
    b"0": "regular file",
    b"\0": "old-style regular file",
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "character device",
    b"4": "block device",
    b"5": "folder",
    b"6": "FIFO",
    b"g": "pax header",
    b"x": "pax header",
    b"L": "GNU long name",
    b"K": "GNU long link",
}


def header_for(name: str, size_bytes: int) -> bytes:
    """The only header that a file of this name and size may have.

    Raises:
        ValueError: The name or size does not fit a USTAR header.
    """
    encoded = name.encode("ascii")
    if not 0 < len(encoded) <= 100 or not 0 <= size_bytes < 8**11:
        raise ValueError(f"'{name}' of {size_bytes} bytes does not fit a USTAR header")
    fields = (
        encoded.ljust(100, b"\0"),
        b"0000644\0" + b"0000000\0" * 2,  # mode, uid, gid
        b"%011o\0" % size_bytes,
        b"0" * 11 + b"\0",  # mtime
        b" " * 8,  # the checksum counts itself as spaces
        b"0" + bytes(100),  # regular file, no link name
        b"ustar\0" + b"00",
        bytes(64),  # no owner's name, no group's name
        b"0000000\0" * 2,  # device numbers
        bytes(155 + 12),
    )
    header = b"".join(fields)
    return header[:148] + b"%06o\0 " % sum(header) + header[156:]


def header_name(header: bytes) -> str:
    """The name that a header claims, made printable."""
    return header[:100].rstrip(b"\0").decode("ascii", errors="backslashreplace")


def header_size_bytes(header: bytes) -> int | None:
    """The size that a header claims, or None where it is not a plain octal number."""
    digits = header[124:135]
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else None


def header_type(header: bytes) -> str:
    """What kind of entry a header claims, in words."""
    return _TYPES.get(header[156:157], f"entry of unknown type {header[156:157]!r}")


def padding_bytes(size_bytes: int) -> int:
    """How many zero bytes follow a file's content."""
    return -size_bytes % BLOCK_BYTES
