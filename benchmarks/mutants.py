"""Would the tests notice? Small wrong changes in the code, and whether a test fails.

Each mutant changes one place: a comparison, an operator, a number, a condition, a returned value, or a
statement that is left out (a call, a ``raise``, a write to an attribute). It runs in a forked process whose
import of that one module gives the changed code, and there meets the tests that reached the changed function
before, fastest first, until one fails. Messages, annotations and decorators are not changed. A program that a
test starts runs the code as it is, so what only such a test would notice counts as not noticed.

mutmut and cosmic-ray leave no statement out, and mutmut no decorated function and no constant of a module in
reach, which is where the promises of an installation lie (docs/adr/0041-mutants.md).

Usage: python benchmarks/mutants.py [--areas pose,trust] [--most 150] [--seed 0] [--jobs 2] [--output FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import itertools
import json
import os
import platform
import resource
import signal
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest
from mutation_places import Mutant, mutants_of, mutated

PROJECT = Path(__file__).resolve().parent.parent
RESULT = PROJECT / "benchmarks" / "results" / "mutants.json"
EQUIVALENT = PROJECT / "benchmarks" / "equivalent_mutants.json"
NEEDED = 0.95
# Area -> its modules, and where the tests lie that answer for it; all are patterns, so that code may move.
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "pose": (
        ("edgepose/pose/**/*.py",),
        ("tests/unit/pose", "tests/property/test_transform.py", "tests/property/test_rotated_crop.py"),
    ),
    "evaluate": (
        ("edgepose/host/evaluate/**/*.py",),
        (
            "tests/unit/host/evaluate",
            "tests/integration/test_evaluate*.py",
            "tests/property/test_precision_oracle.py",
        ),
    ),
    "trust": (
        ("edgepose/trust/**/*.py",),
        ("tests/unit/trust", "tests/integration/install/test_slot_trust.py"),
    ),
    "install": (
        ("edgepose/device/install/**/*.py",),
        ("tests/unit/device/install", "tests/integration/install/test_[ilops]*.py"),
    ),
    "judgement": (
        ("edgepose/host/deploy/**/judgement.py", "edgepose/host/evaluate/gate.py"),
        (
            "tests/unit/host/deploy",
            "tests/unit/host/evaluate/test_gate.py",
            "tests/integration/test_deploy_gate.py",
        ),
    ),
    "search": (("edgepose/host/quantize/**/search.py",), ("tests/unit/host/quantize/**/test_search.py",)),
}
_NEVER_PRELOADED = {
    "tensorflow",
    "jax",
    "keras",
    "tf_keras",
    "edgepose",
    "tests",
    "benchmarks",
    "pytest",
    "_pytest",
}
_LEFT_MIB = 6144
# Of tests for one mutant, by the time that they take without one; and so many in any case.
_MOST_SECONDS, _FEWEST = 20.0, 8
# Tests that must pass in a forked process without a change.
_CONTROLS = 100


def drawn(mutants: Sequence[Mutant], most: int, seed: int) -> list[Mutant]:
    """The mutants to try: the same ones as long as their lines stay the same, wherever these move."""
    keyed = {hashlib.sha256(f"{seed}:{m.function}:{m.change}".encode()).hexdigest(): m for m in mutants}
    return [keyed[key] for key in sorted(keyed)[:most]]


def modules_of(area: str) -> list[Path]:
    """The files of an area, sorted.

    Raises:
        FileNotFoundError: A pattern matches nothing any more.
    """
    return _matching(AREAS[area][0])


def tests_of(area: str) -> list[Path]:
    """The files and folders whose tests answer for an area.

    Raises:
        FileNotFoundError: A pattern matches nothing any more.
    """
    return _matching(AREAS[area][1])


def equivalents() -> dict[tuple[str, str], str]:
    """What was looked at and changes nothing that anything could notice: (function, change) -> why."""
    entries = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    return {(entry["function"], entry["change"]): entry["why"] for entry in entries}


def _matching(patterns: Sequence[str]) -> list[Path]:
    found: list[Path] = []
    for pattern in patterns:
        some = sorted(path for path in PROJECT.glob(pattern) if path.name != "__init__.py")
        if not some:
            raise FileNotFoundError(f"{pattern} matches nothing: has it moved?")
        found += some
    return found


class _Reached:
    """A pytest plugin: which functions each test reaches, its fixtures' included, and how long it takes."""

    def __init__(self, modules: Sequence[Path]) -> None:
        self._modules = {str(path) for path in modules}
        self._now: set[CodeType] = set()
        self._tests: dict[str, tuple[set[CodeType], list[str], float]] = {}
        self._fixtures: dict[str, set[CodeType]] = defaultdict(set)

    def _follow(self, frame: FrameType, _event: str, _argument: object) -> None:
        self._now.add(frame.f_code)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[Any]:
        self._now, start = set(), time.monotonic()
        sys.settrace(self._follow)
        threading.settrace(self._follow)
        yield
        sys.settrace(None)
        self._tests[item.nodeid] = self._now, list(item.fixturenames), time.monotonic() - start

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        before = self._now
        if fixturedef.scope != "function":
            self._now = self._fixtures[fixturedef.argname]
        yield
        self._now = before

    def said(self) -> dict[str, Any]:
        """Test -> its seconds and the functions, as ``file:name``, that it reaches."""
        said = {}
        for name, (own, fixtures, seconds) in self._tests.items():
            codes = own.union(*(self._fixtures[fixture] for fixture in fixtures if fixture in self._fixtures))
            reached = {f"{c.co_filename}:{c.co_qualname}" for c in codes if c.co_filename in self._modules}
            if reached:
                said[name] = {"seconds": seconds, "reached": sorted(reached)}
        return said


class _Chosen:
    """A pytest plugin: only these tests, in this order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._place = {name: place for place, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((i for i in items if i.nodeid in self._place), key=lambda i: self._place[i.nodeid])


class _Changed(importlib.machinery.SourceFileLoader):
    """Loads one module from the changed tree."""

    def __init__(self, name: str, mutant: Mutant) -> None:
        super().__init__(name, str(PROJECT / mutant.module))
        self._mutant = mutant

    def find_spec(self, name: str, _path: object = None, _target: object = None) -> Any:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.path, loader=self)

    def get_code(self, _fullname: str) -> CodeType:
        source = Path(self.path).read_text(encoding="utf-8")
        return compile(mutated(source, self._mutant.place), self.path, "exec", dont_inherit=True)


def _pytest_in_child(words: Sequence[str], plugin: object, mutant: Mutant | None, said: Path | None) -> int:
    """Forks; the child runs pytest. Returns its process id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        resource.setrlimit(resource.RLIMIT_DATA, (_LEFT_MIB << 20, _LEFT_MIB << 20))
        if mutant is not None:
            name = mutant.module.removesuffix(".py").replace("/", ".")
            sys.meta_path.insert(0, _Changed(name, mutant))
        options = [
            "-q",
            "-x",
            "-m",
            "not slow and not vm and not shared_data",
            "-p",
            "no:cacheprovider",
            "-p",
            "no:xdist",
            "--hypothesis-seed=0",
        ]
        # What is loaded before the fork are others' plugins, which assert nothing.
        options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = int(pytest.main([*options, *words], [plugin]))
        if said is not None and isinstance(plugin, _Reached):
            loaded = sorted(name for name in sys.modules if name.split(".")[0] not in _NEVER_PRELOADED)
            said.write_text(json.dumps({"tests": plugin.said(), "loaded": loaded}), encoding="utf-8")
    finally:
        os._exit(code)


class _Area:
    """The tests of one area, and what they make of a mutant."""

    def __init__(self, area: str, folder: Path) -> None:
        modules, words = modules_of(area), [str(p.relative_to(PROJECT)) for p in tests_of(area)]
        said = folder / f"{area}.json"
        _, status = os.waitpid(_pytest_in_child(words, _Reached(modules), None, said), 0)
        if status:
            raise SystemExit(
                f"The tests of {area} fail without any change: python -m pytest {' '.join(words)}"
            )
        found = json.loads(said.read_text(encoding="utf-8"))
        self._tests: dict[str, dict[str, Any]] = found["tests"]
        self.tests = len(self._tests)
        for name in found["loaded"]:
            # What a test made up as it ran cannot be imported again.
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        # A place that is not there: whatever fails now would fail for every mutant.
        nothing = Mutant(modules[0].relative_to(PROJECT).as_posix(), "", "", -1)
        some = sorted(self._tests, key=lambda name: self._tests[name]["seconds"])[:_CONTROLS]
        _, status = os.waitpid(_pytest_in_child(words, _Chosen(some), nothing, None), 0)
        if status:
            raise SystemExit(f"The tests of {area} fail in a forked process without any change.")

    def chosen(self, mutant: Mutant) -> list[str]:
        """The tests that reach the changed function, fastest first; for a constant of a module, all."""
        start = f"{PROJECT / mutant.module}:"
        reached: dict[str, list[str]] = {
            name: [
                r.removeprefix(start).replace(".<locals>", "") for r in test["reached"] if r.startswith(start)
            ]
            for name, test in self._tests.items()
        }
        inner = f"{mutant.function}."
        fits = [n for n, names in reached.items() if any(f"{name}.".startswith(inner) for name in names)]
        # A constant is read without a call.
        fits = fits if mutant.function else list(reached)
        fits.sort(key=lambda name: self._tests[name]["seconds"])
        after = itertools.accumulate(self._tests[name]["seconds"] for name in fits)
        within = sum(seconds <= _MOST_SECONDS for seconds in after)
        return fits[: max(within, _FEWEST)]

    def seconds(self, names: Sequence[str]) -> float:
        return sum(self._tests[name]["seconds"] for name in names)


def _outcomes(area: _Area, mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """What became of each: ``killed``, ``timed out``, ``survived`` or ``not reached``."""
    waiting, running = list(reversed(mutants)), dict[int, tuple[Mutant, float]]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            names = area.chosen(mutant)
            if not names:
                yield mutant, "not reached"
                continue
            files = sorted({name.split("::")[0] for name in names})
            limit = time.monotonic() + 60 + 10 * area.seconds(names)
            running[_pytest_in_child(files, _Chosen(names), mutant, None)] = mutant, limit
        for child, (mutant, limit) in list(running.items()):
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                del running[child]
                yield mutant, "survived" if status == 0 else "killed"
            elif time.monotonic() > limit:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                del running[child]
                yield mutant, "timed out"
        time.sleep(0.01)


def _measured(name: str, most: int, seed: int, jobs: int, folder: Path) -> dict[str, Any]:
    """An area's record."""
    modules, known = modules_of(name), equivalents()
    everything = [mutant for path in modules for mutant in mutants_of(path, PROJECT)]
    tried = drawn(everything, most, seed)
    equivalent = [mutant for mutant in tried if (mutant.function, mutant.change) in known]
    area, counts, left = _Area(name, folder), Counter[str](), list[dict[str, Any]]()
    for mutant, outcome in _outcomes(area, [m for m in tried if m not in equivalent], jobs):
        counts[outcome] += 1
        print(f"{name}: {sum(counts.values())} of {len(tried)}", end="\r", file=sys.stderr, flush=True)
        if outcome in {"survived", "not reached"}:
            left.append({"module": mutant.module, "function": mutant.function, "change": mutant.change})
            print(f"{outcome}: {mutant.module} {mutant.function}: {mutant.change}", flush=True)
    noticed = counts["killed"] + counts["timed out"]
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in modules))
    record = {
        "modules": len(modules),
        "modules_sha256": digest.hexdigest(),
        "tests": area.tests,
        "mutants": len(everything),
        "tried": len(tried),
        "equivalent": len(equivalent),
        **{key.replace(" ", "_"): counts[key] for key in ("killed", "timed out", "survived", "not reached")},
        "noticed_share": round(noticed / max(sum(counts.values()), 1), 4),
        "not_noticed": sorted(left, key=lambda entry: (entry["module"], entry["function"], entry["change"])),
    }
    print(f"{name}: {noticed} of {sum(counts.values())} noticed, {record['noticed_share']:.1%}", flush=True)
    return record


def main() -> int:
    """Measures the areas; 1 where one notices too few."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--areas", default=",".join(AREAS), help="which, with commas between them")
    parser.add_argument("--most", type=int, default=60, help="mutants tried in each area")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    os.chdir(PROJECT)
    sys.path.insert(0, str(PROJECT))
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="edgepose-mutants-") as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        areas = {
            name: _measured(name, arguments.most, arguments.seed, arguments.jobs, Path(folder))
            for name in arguments.areas.split(",")
        }
    result = {
        "schema": "edgepose.mutants/1",
        "what": "share of small wrong changes, without those that change nothing, that a test notices",
        "seed": arguments.seed,
        "needed_share": NEEDED,
        "areas": areas,
        "seconds": round(time.monotonic() - start),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "command": f"python benchmarks/mutants.py --areas {arguments.areas} --most {arguments.most} "
        f"--seed {arguments.seed}",
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0 if all(area["noticed_share"] >= NEEDED for area in areas.values()) else 1


if __name__ == "__main__":
    raise SystemExit(main())
