"""The house: no circle between modules or rooms, and few, plain files (docs/adr/0049-rooms.md)."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping

import pytest

from tests.conftest import PROJECT

_PACKAGE = PROJECT / "edgepose"
_MOST_FILES = 400
_MOST_LINES = 400
# A smaller module with one importer is a part of that importer.
_FEWEST_LINES = 50
# Longer modules, each with its reason.
_LONG: dict[str, str] = {}
# Small modules, or folders of them, with one importer or none, each with its reason.
_SMALL = {
    "edgepose.accelerators.": "a file an accelerator, found by lying there",
    "edgepose.__main__": "python -m edgepose",
    "edgepose.host.convert.fold_worker": "a process",
    "edgepose.sandbox.python_start": "a process, run by its path",
}

Graph = dict[str, set[str]]


def imports_of(source: str, modules: Iterable[str]) -> set[str]:
    """Every module of ours that a source imports, in functions and for types too."""
    known, found = set(modules), set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & known) or {node.module}
    return found & known


def package_sources() -> dict[str, str]:
    """Dotted name to source of every module."""
    names = {
        path: ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted(_PACKAGE.rglob("*.py"))
    }
    return {name: path.read_text(encoding="utf-8") for path, name in names.items()}


def import_graph(sources: Mapping[str, str]) -> Graph:
    """Module to what it imports.

    The door of the package opens everything, lazily, and everything may ask it for the version.
    """
    graph = {name: imports_of(source, sources) - {name} for name, source in sources.items()}
    return graph | {"edgepose": set()}


def grouped(graph: Graph, group_of: Callable[[str], str]) -> Graph:
    """The same graph between groups of modules."""
    groups: Graph = {}
    for module, imported in graph.items():
        groups.setdefault(group_of(module), set()).update(map(group_of, imported))
    return {group: imported - {group} for group, imported in groups.items()}


def room_of(module: str) -> str:
    """A room is a layer, and in ``host`` and ``device`` each of their folders and modules."""
    parts = module.split(".")
    return ".".join(parts[: 3 if parts[1:2] in (["host"], ["device"]) else 2])


def circles(graph: Graph) -> list[str]:
    """What is left when everything that imports nothing any more is taken away, again and again."""
    left = {name: set(imported) for name, imported in graph.items()}
    while done := {name for name, imported in left.items() if not imported & left.keys()}:
        left = {name: imported for name, imported in left.items() if name not in done}
    # The same from above: what no one imports is no part of a circle.
    while above := left.keys() - {name for imported in left.values() for name in imported}:
        left = {name: imported for name, imported in left.items() if name not in above}
    return sorted(left)


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return package_sources()


def test_no_module_imports_itself_by_way_of_others(sources: dict[str, str]) -> None:
    assert circles(import_graph(sources)) == []


def test_no_room_imports_itself_by_way_of_others(sources: dict[str, str]) -> None:
    assert circles(grouped(import_graph(sources), room_of)) == []


@pytest.mark.parametrize(
    "imported",
    [
        "from edgepose.b import x",
        "def f():\n    from edgepose import b",
        "if TYPE_CHECKING:\n    import edgepose.b",
    ],
)
def test_the_search_for_circles_finds_one(imported: str) -> None:
    above, circle = {"edgepose.top": "import edgepose.a"}, {"edgepose.a": imported, "edgepose.b": ""}
    assert circles(import_graph(above | circle)) == []
    circle["edgepose.b"] = "def g():\n    import edgepose.a"
    assert circles(import_graph(above | circle)) == ["edgepose.a", "edgepose.b"]


def test_the_search_finds_a_circle_of_rooms_whose_modules_make_none() -> None:
    modules = {
        "edgepose.host.a.one": "import edgepose.host.b.one",
        "edgepose.host.b.one": "",
        "edgepose.host.b.two": "import edgepose.host.a.two",
        "edgepose.host.a.two": "",
    }
    graph = import_graph(modules)
    assert circles(graph) == []
    assert circles(grouped(graph, room_of)) == ["edgepose.host.a", "edgepose.host.b"]


def test_the_house_has_few_files(sources: dict[str, str]) -> None:
    assert len(sources) <= _MOST_FILES


def test_no_module_is_long(sources: dict[str, str]) -> None:
    long = {name for name, source in sources.items() if len(source.splitlines()) > _MOST_LINES}
    assert long == set(_LONG)


def small_parts(sources: Mapping[str, str]) -> set[str]:
    """Modules that are small and have one importer or none; packages are doors."""
    graph = import_graph(sources)
    importers = {name: sum(name in imported for imported in graph.values()) for name in sources}
    packages = {name.rpartition(".")[0] for name in sources} | {"edgepose"}
    return {
        name
        for name, source in sources.items()
        if len(source.splitlines()) < _FEWEST_LINES and importers[name] <= 1 and name not in packages
    }


def test_a_small_module_has_several_importers_or_a_reason(sources: dict[str, str]) -> None:
    small = small_parts(sources)
    assert {name for name in small if not name.startswith(tuple(_SMALL))} == set()
    assert {reason for reason in _SMALL if not any(name.startswith(reason) for name in small)} == set()


def test_the_search_for_small_modules_finds_one() -> None:
    long = "x = 1\n" * _FEWEST_LINES
    modules = {
        "edgepose.small": "",
        "edgepose.shared": "",
        "edgepose.one": "from edgepose import shared, small\n" + long,
        "edgepose.two": "import edgepose.shared\n" + long,
    }
    assert small_parts(modules) == {"edgepose.small"}
