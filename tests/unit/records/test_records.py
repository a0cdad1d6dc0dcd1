"""Records from JSON: straight from bytes, or through Python's objects; nothing that JSON does not know."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
import pytest

from edgepose.errors import DeployError
from edgepose.records.record import Record, decode_json, from_json, to_json


class Named(Record, frozen=True, kw_only=True):
    name: str
    size: float = 0.0


@pytest.mark.parametrize(
    "text",
    [
        b'{"name": "a", "size": NaN}',
        b'{"name": "a", "size": Infinity}',
        b'{"name": "a", "size": ' + b"1" * 10_000 + b"}",
        b'{"name": "a", "more": 1}',
        b'{"name": ' + b"[" * 200_000,
        b'{"name": "\xff"}',
        b"[]",
        b"",
    ],
)
def test_what_is_no_record_is_refused_in_the_callers_family(text: bytes) -> None:
    with pytest.raises(DeployError, match="The answer"):
        decode_json(text, Named, "The answer", DeployError)
    with pytest.raises(DeployError, match="The answer"):
        from_json(text, Named, "The answer", DeployError)


class Held(Record, frozen=True, kw_only=True):
    file: Annotated[str, msgspec.Meta(pattern="^[a-z]+$")]


class Holder(Record, frozen=True, kw_only=True):
    held: Held


def test_text_of_another_form_is_shown_with_its_place() -> None:
    for read in (decode_json, from_json):
        with pytest.raises(DeployError) as problem:
            read(b'{"held": {"file": "A\\\\1 ' + b"x" * 90 + b'"}}', Holder, "The answer", DeployError)
        shown = "A\\\\1 " + "x" * 56 + "..."
        expected = f"The answer: Expected text of another form than '{shown}' - at `$.held.file`."
        assert problem.value.message == expected


@pytest.mark.parametrize("name", ["ä", "a\x1b\x9b\u202e", b"caf\xe9".decode(errors="surrogateescape")])
def test_any_name_is_written_and_read_again(name: str) -> None:
    written = to_json(Named(name=name)).encode()
    assert json.loads(written)["name"] == name
    assert from_json(written, Named, "The answer").name == name
