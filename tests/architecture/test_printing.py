"""What writes to people's terminals: one module, where control characters become visible."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgepose

_PACKAGE = Path(edgepose.__file__).parent
# The one place for people.
_PLACE = "cli/output.py"
# Lines of JSON between processes of edgepose, and what makes its text visible itself.
_OTHERS = {
    "device/capture/supervised/capture_process.py": "its traceback: visible_lines, hide_logins",
    "device/monitor/hook_process.py": "JSON for the run that started it, and the user's own command",
    "device/live_page/page_process.py": "JSON for the run that started it",
    "device/output/socket_server.py": "JSON for the run that started it",
    "host/deploy/ssh/remote/probe.py": "JSON for the host, on the device",
    "host/deploy/ssh/remote/store.py": "JSON for the host, on the device",
    "sandbox/locked_start.py": "for the process that started it, through a pipe",
    "host/distill/worker.py": "tracebacks for its own log file",
}
_WRITERS = {"echo", "secho", "echo_via_pager", "print_exc", "print_exception"}
_STREAMS = {"stdout", "stderr", "__stdout__", "__stderr__"}


def printing_lines(source: str) -> Iterator[int]:
    """Lines that print: ``print``, click's echo, or a write to one of the standard streams."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        if isinstance(called, ast.Name) and called.id in {"print", *_WRITERS}:
            yield node.lineno
        elif isinstance(called, ast.Attribute):
            stream = called.value.value if _is_buffer(called.value) else called.value
            if called.attr in _WRITERS or (
                called.attr in {"write", "writelines"}
                and isinstance(stream, ast.Attribute)
                and stream.attr in _STREAMS
            ):
                yield node.lineno


def _is_buffer(node: ast.expr) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "buffer"


def test_only_one_module_prints_for_people() -> None:
    found = {
        f"{path.relative_to(_PACKAGE).as_posix()}:{line}"
        for path in _PACKAGE.rglob("*.py")
        for line in printing_lines(path.read_text(encoding="utf-8"))
        if path.relative_to(_PACKAGE).as_posix() not in {_PLACE, *_OTHERS}
    }
    assert found == set(), "print through edgepose.cli.output: say, show or write_report"


def test_every_exception_is_still_one() -> None:
    for name in (_PLACE, *_OTHERS):
        assert list(printing_lines((_PACKAGE / name).read_text(encoding="utf-8"))), name


@pytest.mark.parametrize(
    "line",
    [
        "print('x')",
        "click.echo('x')",
        "click.secho('x')",
        "echo('x')",
        "sys.stdout.write('x')",
        "sys.stderr.buffer.write(b'x')",
        "traceback.print_exc()",
    ],
)
def test_each_way_of_printing_would_be_found(line: str) -> None:
    assert list(printing_lines(f"import sys\n{line}\n")) == [2]


def test_other_writes_are_no_printing() -> None:
    assert list(printing_lines("stream.write('x')\nlogging.info('x')\nsay('x')\n")) == []
