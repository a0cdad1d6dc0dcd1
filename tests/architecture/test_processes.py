"""One way of starting processes: every other one in the package is found here, and listed with its reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT

PACKAGE = PROJECT / "edgepose"

# What may start something by itself, what it uses for that, and why.
EXCEPTIONS = {
    "sandbox/python_child.py": ({"subprocess.Popen", "subprocess.run", "sys.executable"}, "the one way"),
    "sandbox/python_start.py": ({"runpy"}, "the one way's other end, inside the isolated child"),
    "sandbox/loader_lock.py": ({"sys.executable"}, "its folder, which a loader may read"),
    "sandbox/locked_start.py": ({"runpy"}, "the same, for a process that locks itself in first"),
    "device/capture/supervised/supervisor.py": (
        {"fork"},
        "a copy of the isolated supervisor; no import",
    ),
    "device/sandbox/escape_process.py": (
        {"fork"},
        "a copy of the process for each thing that it held",
    ),
    "device/sandbox/escape_probes.py": (
        {"fork", "subprocess.run", "sys.executable"},
        "proves that it is refused",
    ),
    "device/monitor/hook_process.py": ({"subprocess.Popen"}, "the user's own shell command"),
    "host/deploy/ssh/remote/probe.py": ({"subprocess.run"}, "sent to a device that has no edgepose yet"),
    "host/deploy/fleet/inventory.py": ({"sys.executable"}, "looks for Ansible beside it"),
    "cli/camera.py": ({"execv", "sys.executable"}, "this very command again, without its password"),
    "host/tools/installation.py": ({"sys.executable"}, "makes a virtual environment of it"),
}

# Modules that start processes; what else of them may be used.
_HARMLESS = {
    "subprocess": {
        "PIPE",
        "DEVNULL",
        "STDOUT",
        "TimeoutExpired",
        "CalledProcessError",
        "SubprocessError",
        "CompletedProcess",
    },
    "multiprocessing": set[str](),
    "runpy": set[str](),
    "pty": set[str](),
}
_ENDS = ("v", "ve", "vp", "vpe", "l", "le", "lp", "lpe")
# Attributes of whatever object: also a C library has them.
_CALLS = {
    *("fork", "forkpty", "vfork", "posix_spawn", "posix_spawnp", "create_subprocess_exec"),
    *("create_subprocess_shell", "subprocess_exec", "subprocess_shell"),
    *("ProcessPoolExecutor", "ForkingMixIn", "execveat", "fexecve"),
    *(f"{kind}{end}" for kind in ("exec", "spawn") for end in _ENDS),
}  # fmt: skip
_OF_MODULES = {("os", "system"), ("os", "popen"), ("sys", "executable")}


def starts(source: str) -> set[str]:
    """What in a module's source starts a process."""
    return set(_found(ast.parse(source)))


def _found(tree: ast.Module) -> Iterator[str]:
    nodes = list(ast.walk(tree))
    imports = [alias for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names = {alias.asname or alias.name.partition(".")[0]: alias.name.partition(".")[0] for alias in imports}
    yield from (top for top in names.values() if top in _HARMLESS and not _HARMLESS[top])
    annotated = {id(node.value) for node in nodes if isinstance(node, ast.Subscript)}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            yield from _imported_from(node)
        elif isinstance(node, ast.Attribute) and id(node) not in annotated:
            yield from _attribute(node, names)
        elif isinstance(node, ast.Name) and node.id == "__import__":
            yield "__import__"
        elif isinstance(node, ast.Call):
            yield from _by_text(node)
        elif isinstance(node, ast.List | ast.Tuple):
            yield from _by_hand(node)


def _attribute(node: ast.Attribute, names: dict[str, str]) -> Iterator[str]:
    module = names.get(node.value.id, "") if isinstance(node.value, ast.Name) else ""
    if module == "subprocess" and node.attr not in _HARMLESS[module]:
        yield f"subprocess.{node.attr}"
    elif node.attr in _CALLS:
        yield node.attr
    elif (module, node.attr) in _OF_MODULES:
        yield f"{module}.{node.attr}"


def _imported_from(node: ast.ImportFrom) -> Iterator[str]:
    top = (node.module or "").partition(".")[0]
    for alias in node.names:
        if top in _HARMLESS and alias.name not in _HARMLESS[top]:
            yield f"{top}.{alias.name}" if _HARMLESS[top] else top
        elif alias.name in _CALLS:
            yield alias.name
        elif (top, alias.name) in _OF_MODULES:
            yield f"{top}.{alias.name}"


def _by_text(node: ast.Call) -> Iterator[str]:
    """``import_module("subprocess")``, ``getattr(os, "fork")``, ``find_spec("pty")`` and their like."""
    words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    if called in {"import_module", "getattr", "attrgetter", "methodcaller"}:
        yield from (
            str(word) for word in words if word in {*_HARMLESS, *_CALLS, "system", "popen", "executable"}
        )


def _by_hand(node: ast.List | ast.Tuple) -> Iterator[str]:
    """``[python, "-m", ...]`` without ``-I``."""
    words = [part.value for part in node.elts if isinstance(part, ast.Constant)]
    if "-m" in words and "-I" not in words:
        yield "python -m"


def sources() -> dict[str, str]:
    return {str(path.relative_to(PACKAGE)): path.read_text("utf-8") for path in sorted(PACKAGE.rglob("*.py"))}


def test_nothing_but_the_one_way_starts_a_process() -> None:
    found = {name: starts(text) for name, text in sources().items()}
    wrong = {
        name: what - EXCEPTIONS.get(name, (set(), ""))[0]
        for name, what in found.items()
        if what - EXCEPTIONS.get(name, (set(), ""))[0]
    }
    assert wrong == {}, "use edgepose.sandbox.python_child"
    # An exception that nobody uses any more would hide the next one.
    assert {name: found.get(name) for name in EXCEPTIONS} == {
        name: what for name, (what, _) in EXCEPTIONS.items()
    }


PLANTED = [
    "import subprocess\nsubprocess.run(['x'])",
    "import subprocess\nsubprocess.Popen(['x'])",
    "import subprocess as harmless\nharmless.check_output(['x'])",
    "from subprocess import call",
    "from subprocess import Popen as P",
    "import subprocess\nstart = subprocess.getoutput",
    "import os\nos.system('x')",
    "import os\nos.popen('x')",
    "from os import system",
    "import os as o\no.fork()",
    "import os\nos.forkpty()",
    "import os\nos.execvp('x', ['x'])",
    "import os\nos.spawnl(0, 'x')",
    "import os\nos.posix_spawn('x', [], {})",
    "import ctypes\nctypes.CDLL(None).fork()",
    "import ctypes\nctypes.CDLL(None).execve(b'x', None, None)",
    "import multiprocessing",
    "from multiprocessing import Process",
    "import multiprocessing.pool",
    "from concurrent.futures import ProcessPoolExecutor",
    "import concurrent.futures\nconcurrent.futures.ProcessPoolExecutor()",
    "import runpy",
    "import pty",
    "import asyncio\nasyncio.create_subprocess_exec('x')",
    "import asyncio\nasyncio.create_subprocess_shell('x')",
    "from asyncio import create_subprocess_exec",
    "import importlib\nimportlib.import_module('subprocess')",
    "__import__('subprocess').run(['x'])",
    "import os\ngetattr(os, 'fork')()",
    "import sys\nwords = [sys.executable, '-c', 'x']",
    "from sys import executable",
    "words = [python, '-m', 'edgepose']",
]


@pytest.mark.parametrize("source", PLANTED)
def test_every_other_way_is_found(source: str) -> None:
    assert starts(source), source


@pytest.mark.parametrize(
    "source",
    [
        "import subprocess\ndef f(p: subprocess.Popen[bytes]) -> None: p.wait()",
        "import subprocess\ntry:\n    pass\nexcept subprocess.TimeoutExpired:\n    pass",
        "import platform\nplatform.system()",
        "words = [python, '-I', '-m', 'pip']",
        "import os\nos.environ",
    ],
)
def test_what_starts_nothing_is_not_found(source: str) -> None:
    assert starts(source) == set()


def test_the_packages_playbooks_start_no_python() -> None:
    """They get the command as a variable, from ``python_command``."""
    texts = [path.read_text("utf-8") for path in PACKAGE.rglob("*.yml")]
    assert texts
    assert not [text for text in texts if "python -" in text or "python3" in text]


def test_a_devices_launcher_starts_an_isolated_python() -> None:
    text = Path(PACKAGE / "host/deploy/ssh/remote_target.py").read_text("utf-8")
    launcher = text[text.index("#!/bin/sh") :]
    assert " -I " in launcher
    assert "PYTHONPATH" not in launcher
    assert " -m " not in launcher
