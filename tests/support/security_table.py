"""SECURITY.md's table: who attacks, what is promised, and which tests prove it."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
_HEADER = ("attacker", "promise", "proved by")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`( \(vm\))?")


@dataclass(frozen=True)
class Proof:
    """A test that a row names.

    Attributes:
        file: Its file, from the project's folder.
        test: Its function.
        in_vm: Whether it runs in the virtual machine (``make test-vm``).
    """

    file: str
    test: str
    in_vm: bool

    def __str__(self) -> str:
        return f"{self.file}::{self.test}"


@dataclass(frozen=True)
class Promise:
    """A row of the table."""

    attacker: str
    promise: str
    proofs: tuple[Proof, ...]


def read_table(text: str) -> list[Promise]:
    """The rows.

    Raises:
        ValueError: There is no such table, or a row names no test or something that is none.
    """
    lines = iter(text.splitlines())
    for line in lines:
        if _cells(line) == _HEADER:
            break
    else:
        raise ValueError(f"there is no table of {', '.join(_HEADER)}")
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = _cells(line)
        if len(cells) != 3 or not all(cells):
            raise ValueError(f"not a row of three cells: {line}")
        rows.append(Promise(cells[0], cells[1], _proofs(cells[2])))
    return rows


def problems(rows: list[Promise], project: Path = PROJECT) -> list[str]:
    """What is wrong with the named tests, as far as the sources tell: not there, or never run."""
    found = []
    for proof in sorted({proof for row in rows for proof in row.proofs}, key=str):
        path = project / proof.file
        reason = (
            _reason_against(path.read_text(encoding="utf-8"), proof) if path.is_file() else "no such file"
        )
        if reason:
            found.append(f"{proof}: {reason}")
    return found


def _reason_against(source: str, proof: Proof) -> str:
    module = ast.parse(source)
    marks = [ast.unparse(node) for node in module.body if isinstance(node, ast.Assign) and _is_marks(node)]
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == proof.test:
            marks += [ast.unparse(decorator) for decorator in node.decorator_list]
            if any(re.search(r"mark\.(skip|xfail)\b", mark) for mark in marks):
                return "always skipped, or expected to fail"
            in_vm = any(re.search(r"mark\.vm\b", mark) for mark in marks)
            return "" if in_vm == proof.in_vm else "(vm) does not say whether it runs in the virtual machine"
    return "no such test"


def _is_marks(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "pytestmark" for target in node.targets)


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))


def _proofs(cell: str) -> tuple[Proof, ...]:
    found = tuple(Proof(file, test, bool(in_vm)) for file, test, in_vm in _TEST.findall(cell))
    rest = _TEST.sub("", cell).replace(",", "").strip()
    if not found or rest:
        raise ValueError(f"not a list of tests: {cell}")
    return found
