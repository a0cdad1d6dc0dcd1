"""Which version of a benchmark made a record: a digest of the script and of what it imports beside it.

Import statements, docstrings and lines of comment are left out, so that a module may move and a sentence be
mended without a figure being measured again. Every other character counts. Where only names of edgepose
changed since, the record says which (``renamed_since``: new name, old name), and they are turned back first.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeGuard

HERE = Path(__file__).resolve().parent
# Started as programs by the script of that name, not imported.
# A name, or a parameter with one.
_NAME = re.compile(r"[A-Za-z_][\w.]*(=[A-Za-z_][\w.]*)?")
_SIDES = {"mediapipe": ("mediapipe_side",), "tracking": ("tracking_peers",)}


def script_sha256(
    name: str,
    text_of: Callable[[str], str | None] | None = None,
    renamed: Mapping[str, str] | None = None,
) -> str:
    """Digest of ``benchmarks/NAME.py``.

    Args:
        name: The script, without its suffix.
        text_of: Gives the text of a module beside the script or None; without it this folder does.
        renamed: Names that changed since, and what they were.

    Raises:
        ValueError: Something else than a name is to be turned back.
    """
    read = text_of or _text_here
    digest = hashlib.sha256()
    for module in sorted(_modules(name, read)):
        text = read(module)
        lines = measuring_lines(text or "")
        for new, old in (renamed or {}).items():
            if not (_NAME.fullmatch(new) and _NAME.fullmatch(old)):
                raise ValueError(f"{new!r} or {old!r} is no name")
            lines = re.sub(rf"(?<![\w.]){re.escape(new)}\b", old, lines)
        digest.update(f"{module}.py\n{lines}\n".encode())
    return digest.hexdigest()


def measuring_lines(text: str) -> str:
    """Python source without imports, docstrings, lines of comment and empty lines."""
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return "\n".join(line for line in lines if line.strip() and not line.lstrip().startswith("#"))


def _is_docstring(node: ast.AST) -> TypeGuard[ast.Expr]:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _modules(name: str, read: Callable[[str], str | None]) -> set[str]:
    found, waiting = set(), [name]
    while waiting:
        module = waiting.pop()
        text = read(module)
        if module in found or text is None:
            continue
        found.add(module)
        for node in _imports(text):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module]
            waiting.extend(imported for imported in names if imported)
        waiting.extend(_SIDES.get(module, ()))
    return found


def _imports(text: str) -> Iterator[ast.Import | ast.ImportFrom]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import | ast.ImportFrom))


def _text_here(module: str) -> str | None:
    path = HERE / f"{module}.py"
    return path.read_text(encoding="utf-8") if path.is_file() else None
