"""Pages that follow from the code: the command line from click, the records from their classes."""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import re
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import msgspec

import edgepose
import edgepose.records
from edgepose.cli.device_main import command as device_program
from edgepose.cli.main import command as program
from edgepose.records.record import Record

# Records that are written beside the shared ones, where what they say is found.
_MORE_MODULES = ("edgepose.device.run.summary", "edgepose.host.report.drawn_frames")
# Records whose class leaves it to the writer.
_NAMED_BY_ITS_WRITER = {
    "BenchmarkReport": "edgepose.benchmark/1",
    "ConversionReport": "edgepose.conversion/1",
    "ModelInspection": "edgepose.model/1",
}
_SCHEMA = re.compile(r"edgepose\.[a-z_]+/\d+")
_WIDTH = 100


def python_pages() -> dict[str, str]:
    """The page of the public names; mkdocstrings fills it in from their docstrings."""
    first = ["open", "run", "Model", "Poses", "Result", "evaluate", "quantize", "deploy"]
    names = sorted(
        edgepose.__all__, key=lambda name: (first.index(name) if name in first else len(first), name)
    )
    named = [
        f"::: {getattr(edgepose, name).__module__}.{name}\n    options:\n      heading: edgepose.{name}"
        for name in names
        if not name.startswith("_")
    ]
    head = (
        "# Python\n\nThe public names of `import edgepose`, and all of them: every module is private and may "
        "change with any release."
    )
    return {"reference/python.md": "\n\n".join([head, *named]) + "\n"}


def command_pages() -> dict[str, str]:
    """A page for each program, as ``--help`` says it."""
    pages = {}
    for name, group in (("edgepose", program), ("edgepose-device", device_program)):
        sections = [
            f"{'#' * min(4, 1 + len(path.split()))} {path}\n\n```text\n{text}\n```"
            for path, text in _helps(group, name)
        ]
        head = f"# {name}\n\nGenerated from the program's own `--help`."
        pages[f"reference/{name}.md"] = "\n\n".join([head, *sections]) + "\n"
    return pages


def _helps(
    command: click.Command, path: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, parent, path.rpartition(" ")[2], terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            if inner is not None and not inner.hidden:
                yield from _helps(inner, f"{path} {name}", context)


def record_pages() -> dict[str, str]:
    """One page of all records that say ``schema``, and the JSON Schema of each as a file beside it."""
    pages, sections = {}, []
    for schema, record in sorted(records().items()):
        file = f"schemas/{schema.replace('edgepose.', '').replace('/', '.')}.json"
        pages[f"reference/{file}"] = json.dumps(_json_schema(record), indent=2) + "\n"
        sections.append(_record_section(schema, file, record))
    head = (
        "# Records\n\nEverything that edgepose reports is a JSON record that names its `schema`. The classes "
        "are strict: an unknown field is an error. The JSON Schema of each is generated from the class that "
        "reads and writes it."
    )
    return {"reference/records.md": "\n\n".join([head, *sections]) + "\n", **pages}


def records() -> dict[str, type[Record]]:
    """Every record that names its schema, by that name."""
    for module in pkgutil.walk_packages(edgepose.records.__path__, "edgepose.records."):
        importlib.import_module(module.name)
    for name in _MORE_MODULES:
        importlib.import_module(name)
    found: dict[str, type[Record]] = {}
    for record in _subclasses(Record):
        if "schema" in record.__struct_fields__:
            found[_schema_of(record)] = record
    return found


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for inner in kind.__subclasses__():
        yield inner
        yield from _subclasses(inner)


def _schema_of(record: type[Record]) -> str:
    hint = get_type_hints(record)["schema"]
    if get_origin(hint) is Literal:
        return str(get_args(hint)[0])
    named = _SCHEMA.search(inspect.getdoc(record) or "")
    default = next(field.default for field in msgspec.structs.fields(record) if field.name == "schema")
    if named is None and not isinstance(default, str):
        return _NAMED_BY_ITS_WRITER[record.__name__]
    return named.group(0) if named else str(default)


def _json_schema(record: type[Record]) -> dict[str, Any]:
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(record)}


def _record_section(schema: str, file: str, record: type[Record]) -> str:
    text = inspect.getdoc(record) or ""
    head, _, attributes = text.partition("Attributes:\n")
    fields = re.findall(r"^    (\w+): (.*(?:\n {8,}.*)*)", attributes, re.MULTILINE)
    rows = [f"| `{name}` | {_one_line(meaning)} |" for name, meaning in fields]
    table = "\n".join(["| field | meaning |", "|---|---|", *rows]) if rows else ""
    words = head.strip().replace("``", "`")
    return f"## {schema}\n\n{words}\n\n{table}\n\nAll fields and types: [{file}]({file})"


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().replace("``", "`").replace("|", "\\|")
