"""Reading and writing strict records: TOML for people, JSON between programs.

Every record is a frozen ``msgspec.Struct`` that forbids unknown fields, so a typing mistake in a
profile is an error with the field's path, never a silently ignored line.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from edgepose.errors import ConfigError, EdgeposeError
from edgepose.records.display_text import visible_json

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=False):
    """Base of all records: frozen, keyword-only, unknown fields refused."""


# What a pattern means no user reads in it; what was found where says more.
_PATTERN = re.compile(r"Expected `str` matching regex '.*'", re.DOTALL)
_PLACE = re.compile(r" - at `\$((?:\.\w+)+)`$")
# A longer text from outside is not read a second time for a message.
_MOST_READ_AGAIN_BYTES = 1 << 20
_MOST_SHOWN = 60
RecordType = TypeVar("RecordType", bound=Record)
ErrorType = Callable[[str, str], EdgeposeError]


def from_builtins(
    data: object, record: type[RecordType], where: str, error: ErrorType = ConfigError
) -> RecordType:
    """Checks plain dicts and lists against a record.

    Args:
        data: What ``json.loads`` or a TOML parser returned.
        record: The record type expected.
        where: Names the source in the message, for example a path.
        error: The family of the error to raise.

    Raises:
        EdgeposeError: Of the family ``error``; the message holds the field's path.
    """
    try:
        return msgspec.convert(data, record, strict=True)
    except msgspec.ValidationError as problem:
        raise _wrong_record(problem, record, where, error, data) from problem


def from_json(
    text: str | bytes, record: type[RecordType], where: str, error: ErrorType = ConfigError
) -> RecordType:
    """Parses JSON into a record.

    Raises:
        EdgeposeError: Of the family ``error``: not JSON, or not this record.
    """
    return from_builtins(parse_json(text, where, error), record, where, error)


def decode_json(
    text: bytes, record: type[RecordType], where: str, error: ErrorType = ConfigError
) -> RecordType:
    """Parses JSON straight into a record: what is none ends it before it has taken memory.

    Raises:
        EdgeposeError: Of the family ``error``: not JSON, or not this record.
    """
    try:
        return msgspec.json.decode(text, type=record, strict=True)
    except msgspec.ValidationError as problem:
        again = len(text) <= _MOST_READ_AGAIN_BYTES and _PATTERN.match(str(problem))
        data = parse_json(text, where, error) if again else None
        raise _wrong_record(problem, record, where, error, data) from problem
    except RecursionError as problem:
        raise error(f"{where} is not valid JSON: nested too deeply.", "") from problem
    # DecodeError: no JSON. ValueError: a text in it is no UTF-8.
    except (msgspec.DecodeError, ValueError) as problem:
        raise error(f"{where} is not valid JSON: {problem}.", "") from problem


def parse_json(text: str | bytes, where: str, error: ErrorType = ConfigError) -> Any:
    """Parses JSON, and nothing that Python takes beside it.

    Raises:
        EdgeposeError: Of the family ``error``: not JSON, NaN or an infinity, nested or digits without end.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as problem:
        raise error(f"{where} is not valid JSON: nested too deeply.", "") from problem
    except ValueError as problem:
        raise error(f"{where} is not valid JSON: {problem}.", "") from problem


def _wrong_record(
    problem: msgspec.ValidationError, record: type[Record], where: str, error: ErrorType, data: object
) -> EdgeposeError:
    said = str(problem)
    place = _PLACE.search(said)
    found = _found_at(data, place[1]) if place and _PATTERN.match(said) else None
    expected = "Expected text of another form" + (f" than {found!r}" if found is not None else "")
    return error(
        # A function, as what was found may hold what looks like a group.
        f"{where}: {_PATTERN.sub(lambda _match: expected, said)}.",
        f"Compare with the fields of {record.__name__}: {', '.join(record.__struct_fields__)}.",
    )


def _found_at(data: object, place: str) -> str | None:
    """The text at a place like ``.model.sha256``, cut where it is long."""
    for name in place.split(".")[1:]:
        data = data.get(name) if isinstance(data, dict) else None
    if not isinstance(data, str):
        return None
    return data if len(data) <= _MOST_SHOWN else data[:_MOST_SHOWN] + "..."


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not finite, as every number of JSON is")


def to_builtins(record: Record) -> dict[str, Any]:
    """Turns a record into plain dicts and lists, in the order of its fields."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    return plain


def to_json(record: Record, *, indent: int | None = None) -> str:
    """Writes a record as JSON with stable key order and a final newline only when indented."""
    text = plain_json(to_builtins(record), indent=indent)
    return text + "\n" if indent is not None else text


def plain_json(plain: object, *, indent: int | None = None) -> str:
    """Writes what a record turned into, or a part of it."""
    # Names of files that are not UTF-8 are lone surrogates, which only JSON's own escapes can write.
    return visible_json(json.dumps(plain, indent=indent, ensure_ascii=False, allow_nan=False))


def read_toml(path: Path, record: type[RecordType]) -> RecordType:
    """Reads a TOML file into a record.

    Raises:
        ConfigError: The file cannot be read, is not TOML, or is not this record.
    """
    data = parse_toml(read_text(path), str(path))
    return from_builtins(data, record, str(path))


def read_json(path: Path, record: type[RecordType], error: ErrorType = ConfigError) -> RecordType:
    """Reads a JSON file into a record.

    Raises:
        ConfigError: The file cannot be read.
        EdgeposeError: Of the family ``error``: not JSON, or not this record.
    """
    return from_json(read_text(path), record, str(path), error)


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """Parses TOML text.

    Raises:
        ConfigError: The text is not TOML.
    """
    # Python 3.10 on devices has no tomllib; tomli is the same parser and the same interface.
    try:
        import tomllib
    except ModuleNotFoundError:
        import tomli as tomllib  # type: ignore[no-redef]
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise ConfigError(f"{where} is not valid TOML: {problem}.") from problem


def read_text(path: Path) -> str:
    """Reads a UTF-8 text file.

    Raises:
        ConfigError: The file is missing, not readable or not text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror if isinstance(problem, OSError) else "not UTF-8 text"
        raise ConfigError(f"Cannot read {os.fspath(path)}: {reason}.") from problem
