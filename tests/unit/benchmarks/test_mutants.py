"""The mutants: which changes are made, which are drawn, and that the list of the harmless ones is true."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "benchmarks"))


@pytest.fixture
def places() -> ModuleType:
    import mutation_places

    return mutation_places


@pytest.fixture
def mutants() -> ModuleType:
    import mutants

    return mutants


def changed(places: ModuleType, source: str) -> list[str]:
    """Every mutant of a source, as source; two that are alike count once."""
    count = len(_found(places, source))
    texts = [ast.unparse(places.mutated(source, place)) for place in range(count)]
    assert all(text != ast.unparse(ast.parse(source)) for text in texts)
    return texts


def _found(places: ModuleType, source: str) -> list[Any]:
    finder = places._Places(source)
    finder.visit(ast.parse(source))
    return finder.found


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < b", ["x = a <= b"]),
        ("x = a is not None", ["x = a is None"]),
        ("x = a + b", ["x = a - b"]),
        ("x = a and b", ["x = a or b"]),
        ("x = not a", ["x = a"]),
        ("x = -a", ["x = a"]),
        ("x = 3", ["x = 4"]),
        ("x = 0.5", ["x = 1.0"]),
        ("x = 0.0", ["x = 1.0"]),
        ("x = True", ["x = False"]),
        ("x: int = 3", ["x: int = 4"]),
        ("x = a if b else c", ["x = a if not b else c"]),
        ("x = [a for a in b if a]", ["x = [a for a in b]"]),
        ("def f(a=1):\n    return a", ["def f(a=2):\n    return a", "def f(a=1):\n    return None"]),
        ("flush(a)", ["pass"]),
        ("raise ValueError(3)", ["pass"]),
        ("x.a = b", ["pass"]),
        ("x[a] = b", ["pass"]),
        ("x += a", ["pass", "x -= a"]),
        ("if a:\n    pass", ["if not a:\n    pass"]),
        ("def f():\n    yield a", ["def f():\n    pass"]),
    ],
)
def test_each_kind_of_place_is_changed_in_its_way(
    places: ModuleType, source: str, expected: list[str]
) -> None:
    assert sorted(changed(places, source)) == sorted(expected)


@pytest.mark.parametrize(
    "source",
    [
        '"""Words 1."""',
        "x: Literal[8, 16]",
        "@dataclass(frozen=True)\nclass A:\n    a: int",
        "f = f'{a + 1}'",
    ],
)
def test_words_annotations_and_decorators_stay(places: ModuleType, source: str) -> None:
    assert changed(places, source) == []


def test_alike_changes_of_one_line_have_names_of_their_own(places: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "m.py"
    path.write_text("class A:\n    def f(self):\n        return g(1) or g(1)\n", encoding="utf-8")
    found = [(m.module, m.function, m.change) for m in places.mutants_of(path, tmp_path)]
    assert found == [
        ("m.py", "A.f", "return g(1) or g(1) | returns None"),
        ("m.py", "A.f", "return g(1) or g(1) | Or -> And"),
        ("m.py", "A.f", "return g(1) or g(1) | 1 -> 2"),
        ("m.py", "A.f", "return g(1) or g(1) | 1 -> 2 #2"),
    ]


def test_a_draw_outlives_a_move(mutants: ModuleType, tmp_path: Path) -> None:
    text = "def f(a):\n    return a < 1 and a + 2 > 3\n"
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("" if name == "one.py" else "import os\n\n\n" + text, encoding="utf-8")
    (tmp_path / "one.py").write_text(text, encoding="utf-8")
    one, two = (mutants.mutants_of(tmp_path / name, tmp_path) for name in ("one.py", "two.py"))
    drawn = [[m.change for m in mutants.drawn(some, 3, 7)] for some in (one, two)]
    assert drawn[0] == drawn[1]
    assert drawn[0] != [m.change for m in mutants.drawn(one, 3, 8)]
    assert len(mutants.drawn(one, 99, 7)) == len(one)


def test_every_area_has_modules_and_tests(mutants: ModuleType) -> None:
    for area in mutants.AREAS:
        assert mutants.modules_of(area)
        assert mutants.tests_of(area)


def test_each_change_that_is_called_harmless_is_still_in_the_code_and_has_a_reason(
    mutants: ModuleType,
) -> None:
    modules = [path for area in mutants.AREAS for path in mutants.modules_of(area)]
    there = {(m.function, m.change) for path in modules for m in mutants.mutants_of(path, PROJECT)}
    assert set(mutants.equivalents()) <= there
    assert all(len(why) > 20 for why in mutants.equivalents().values())


def test_a_process_with_a_changed_module_imports_the_change(mutants: ModuleType) -> None:
    path = PROJECT / "edgepose" / "errors.py"
    some = mutants.mutants_of(path, PROJECT)[0]
    finder = mutants._Changed("edgepose.errors", some)
    assert finder.find_spec("edgepose.other") is None
    assert finder.find_spec("edgepose.errors").loader is finder
    plain = compile(path.read_text(encoding="utf-8"), str(path), "exec", dont_inherit=True)
    assert finder.get_code("edgepose.errors") != plain
