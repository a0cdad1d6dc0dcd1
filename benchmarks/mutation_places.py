"""The places of a Python file that a small wrong change can be made at, and the file with one such change."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_OTHER: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
    ast.LShift: ast.RShift, ast.RShift: ast.LShift,
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        module: Path of the file, from the project's root.
        function: Qualified name of the function or class around it; empty at the module's own level.
        change: The line as it was, and what becomes of it; with the function it names the mutant wherever
            the code moves.
        place: Its number among the places of the file.
    """

    module: str
    function: str
    change: str
    place: int


class _Places(ast.NodeTransformer):
    """Finds every place that can be changed, and changes the one that is asked for."""

    def __init__(self, source: str, asked: int = -1) -> None:
        self._lines, self._asked, self._scope = source.splitlines(), asked, list[str]()
        self.found: list[tuple[str, str]] = []
        self._rules: dict[type, Callable[[Any], Any]] = {
            ast.FunctionDef: self._within,
            ast.ClassDef: self._within,
            ast.Compare: self._compare,
            ast.BoolOp: self._operator,
            ast.BinOp: self._operator,
            ast.UnaryOp: self._sign,
            ast.Constant: self._constant,
            ast.If: self._condition,
            ast.IfExp: self._condition,
            ast.comprehension: self._filter,
            ast.Return: self._returned,
            # What a raise says is a message.
            ast.Raise: self._left_out,
            ast.Continue: self._left_out,
            ast.Expr: self._expression,
            ast.Assign: self._assignment,
            ast.AugAssign: self._in_place,
            ast.AnnAssign: self._annotated,
            ast.JoinedStr: lambda node: node,
            ast.keyword: self._argument,
        }

    def visit(self, node: ast.AST) -> Any:
        """Changes a node, or what is in it, where it is the place asked for."""
        return self._rules.get(type(node), self.generic_visit)(node)

    def _is_it(self, node: ast.AST, change: str) -> bool:
        line = self._lines[getattr(node, "lineno", 1) - 1].strip()
        self.found.append((".".join(self._scope), f"{line} | {change}"))
        return len(self.found) - 1 == self._asked

    def _swap(self, node: ast.AST, operator: Any) -> Any:
        other = _OTHER.get(type(operator))
        names = f"{type(operator).__name__} -> {other.__name__}" if other else ""
        return other() if other and self._is_it(node, names) else operator

    def _within(self, node: Any) -> Any:
        self._scope.append(node.name)
        node.body = [self.visit(statement) for statement in node.body]
        if isinstance(node, ast.FunctionDef):
            node.args.defaults = [self.visit(value) for value in node.args.defaults]
            node.args.kw_defaults = [value and self.visit(value) for value in node.args.kw_defaults]
        self._scope.pop()
        return node

    def _compare(self, node: ast.Compare) -> ast.AST:
        node.ops = [self._swap(node, operator) for operator in node.ops]
        return self.generic_visit(node)

    def _operator(self, node: Any) -> Any:
        node.op = self._swap(node, node.op)
        return self.generic_visit(node)

    def _sign(self, node: ast.UnaryOp) -> ast.AST:
        drop = isinstance(node.op, ast.Not | ast.USub) and self._is_it(
            node, f"{ast.unparse(node)} without its sign"
        )
        return self.visit(node.operand) if drop else self.generic_visit(node)

    def _constant(self, node: ast.Constant) -> ast.AST:
        old: Any = node.value
        if isinstance(old, bool):
            new: Any = not old
        elif isinstance(old, int | float):
            new = old + 1 if isinstance(old, int) or old == 0 else 2 * old
        else:
            return node
        return ast.copy_location(ast.Constant(new), node) if self._is_it(node, f"{old} -> {new}") else node

    def _condition(self, node: Any) -> Any:
        if self._is_it(node, "condition turned round"):
            node.test = ast.UnaryOp(ast.Not(), node.test)
        return self.generic_visit(node)

    def _filter(self, node: ast.comprehension) -> ast.AST:
        if node.ifs and self._is_it(node.ifs[0], "filter left out"):
            node.ifs = []
        return self.generic_visit(node)

    def _returned(self, node: ast.Return) -> ast.AST:
        if node.value and ast.unparse(node.value) != "None" and self._is_it(node, "returns None"):
            node.value = ast.Constant(None)
        return self.generic_visit(node)

    def _left_out(self, node: Any) -> Any:
        return ast.copy_location(ast.Pass(), node) if self._is_it(node, "left out") else node

    def _expression(self, node: ast.Expr) -> ast.AST:
        if isinstance(node.value, ast.Constant):
            return node
        changed = self._left_out(node)
        return changed if changed is not node else self.generic_visit(node)

    def _assignment(self, node: ast.Assign) -> ast.AST:
        changed: ast.AST = node
        if isinstance(node.targets[0], ast.Attribute | ast.Subscript):
            changed = self._left_out(node)
        return changed if changed is not node else self.generic_visit(node)

    def _in_place(self, node: ast.AugAssign) -> ast.AST:
        changed = self._left_out(node)
        return changed if changed is not node else self._operator(node)

    def _argument(self, node: ast.keyword) -> Any:
        # What ``zip`` refuses then is a mistake of the caller, which another mutant makes.
        return node if node.arg == "strict" else self.generic_visit(node)

    def _annotated(self, node: ast.AnnAssign) -> ast.AST:
        node.value = node.value and self.visit(node.value)
        return node


def mutants_of(path: Path, root: Path) -> list[Mutant]:
    """Every mutant of a file, in the order of its lines."""
    source = path.read_text(encoding="utf-8")
    places = _Places(source)
    places.visit(ast.parse(source))
    seen: dict[tuple[str, str], int] = defaultdict(int)
    mutants = []
    for number, (function, change) in enumerate(places.found):
        seen[function, change] += 1
        again = f" #{seen[function, change]}" if seen[function, change] > 1 else ""
        mutants.append(Mutant(path.relative_to(root).as_posix(), function, change + again, number))
    return mutants


def mutated(source: str, place: int) -> ast.Module:
    """The tree of a file with the change at one of its places."""
    return ast.fix_missing_locations(_Places(source, place).visit(ast.parse(source)))
