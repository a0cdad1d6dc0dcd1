"""Reads what ``edgetpu_compiler`` prints; a log that is not understood to the last op is refused.

The format is that of versions 2.0 to 16.0: a version line, sizes, a table of ops ("Operator  Count  Status"),
and the two "Number of operations" lines, which are missing where every op was mapped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgepose.errors import ModelError

MAPPED = "Mapped to Edge TPU"

_VERSION = re.compile(r"^Edge TPU Compiler version (\d[\w.]*)\s*$", re.MULTILINE)
_SUCCESS = re.compile(r"^Model compiled successfully in \d+ ms[.!]?\s*$", re.MULTILINE)
_TOTAL = re.compile(r"^Total number of operations: (\d+)\s*$", re.MULTILINE)
_ON_DELEGATE = re.compile(r"^Number of operations that will run on Edge TPU: (\d+)\s*$", re.MULTILINE)
_ON_CPU = re.compile(r"^Number of operations that will run on CPU: (\d+)\s*$", re.MULTILINE)
_ON_CHIP = re.compile(r"^On-chip memory used for caching model parameters: (\S+)\s*$", re.MULTILINE)
_OFF_CHIP = re.compile(
    r"^Off-chip memory used for streaming uncached model parameters: (\S+)\s*$", re.MULTILINE
)
_TABLE_HEAD = re.compile(r"^Operator\s+Count\s+Status\s*$", re.MULTILINE)
_TABLE_ROW = re.compile(r"^([A-Za-z0-9_\-]+)\s+(\d+)\s+(\S.*?)\s*$")
_SIZE = re.compile(r"^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB)$")
_UNIT_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


@dataclass(frozen=True)
class LoggedOps:
    """A row of the compiler's table.

    Attributes:
        op: Kind of op.
        count: How many.
        status: What became of them, in the compiler's words.
    """

    op: str
    count: int
    status: str


@dataclass(frozen=True)
class CompilerLog:
    """A whole log.

    Attributes:
        version: The compiler's version.
        ops_total: Ops of the model.
        ops_on_delegate: Ops that run on the Edge TPU.
        rows: The table.
        on_chip_bytes: Parameters in the Edge TPU's own memory.
        off_chip_bytes: Parameters that are streamed for every frame.
    """

    version: str
    ops_total: int
    ops_on_delegate: int
    rows: tuple[LoggedOps, ...]
    on_chip_bytes: int
    off_chip_bytes: int

    @property
    def ops_on_cpu(self) -> int:
        """Ops that the compiler left to the CPU."""
        return self.ops_total - self.ops_on_delegate


def parse_log(text: str) -> CompilerLog:
    """Reads a log.

    Raises:
        ModelError: Something is missing, unknown, or does not add up.
    """
    version = _only(_VERSION, text, "its version line")
    _only(_SUCCESS, text, "the line that says it succeeded")
    total = int(_only(_TOTAL, text, "the total number of operations"))
    rows = _table(text)
    counted = sum(row.count for row in rows)
    if counted != total:
        raise _not_understood(f"its table counts {counted} ops and its total is {total}")
    mapped = sum(row.count for row in rows if row.status == MAPPED)
    for pattern, expected, where in ((_ON_DELEGATE, mapped, "Edge TPU"), (_ON_CPU, total - mapped, "CPU")):
        stated = pattern.findall(text)
        if any(int(number) != expected for number in stated) or (not stated and mapped != total):
            raise _not_understood(f"its table puts {expected} ops on the {where}, its summary says {stated}")
    return CompilerLog(
        version=version,
        ops_total=total,
        ops_on_delegate=mapped,
        rows=rows,
        on_chip_bytes=_bytes(_only(_ON_CHIP, text, "the on-chip memory")),
        off_chip_bytes=_bytes(_only(_OFF_CHIP, text, "the off-chip memory")),
    )


def _table(text: str) -> tuple[LoggedOps, ...]:
    head = _TABLE_HEAD.search(text)
    if head is None:
        raise _not_understood("its table of operators is missing")
    rows: list[LoggedOps] = []
    for line in text[head.end() :].splitlines():
        row = _TABLE_ROW.match(line)
        if row is None:
            if line.strip() and rows:
                break
            if line.strip():
                raise _not_understood(f"its table has the line {line.strip()!r}")
            continue
        rows.append(LoggedOps(row.group(1), int(row.group(2)), row.group(3)))
    return tuple(rows)


def _only(pattern: re.Pattern[str], text: str, what: str) -> str:
    found = pattern.findall(text)
    if len(found) != 1:
        raise _not_understood(f"{what} stands there {len(found)} times, expected once")
    return str(found[0])


def _bytes(text: str) -> int:
    size = _SIZE.match(text)
    if size is None:
        raise _not_understood(f"{text!r} is no size")
    return round(float(size.group(1)) * _UNIT_BYTES[size.group(2)])


def _not_understood(reason: str) -> ModelError:
    return ModelError(
        f"The log of edgetpu_compiler is not understood: {reason}.",
        "Known are versions 2.0 to 16.0; what a log does not say for certain is not claimed.",
    )
