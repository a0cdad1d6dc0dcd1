"""Makes and renews all locks: ``make lock``.

- ``host-3.11.txt`` and so on: what ``make setup`` installs, for Linux on x86_64 and aarch64.
- ``device/aarch64-3.11.txt`` and so on: what a device gets, see ``edgepose/host/bundle/device_lock.py``.

pip resolves, for the lock's platform and Python, whatever this machine is. It judges markers of dependencies
(``python_version < "3.11"``) by the Python that runs it, so the result is held against the markers of the
target: what is missing is asked for, what nothing needs is left out. What is locked stays locked as long as
it fits; ``make lock UPGRADE=numpy,tuf`` or ``UPGRADE=all`` takes the newest. Devices get the versions of the
host's lock for the same Python, so that what is measured is what ships.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote, urlsplit

import tomllib
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from edgepose.host.bundle.device_lock import LockedWheel, format_lock, lock_name
from edgepose.sandbox.python_child import run_python

HERE = Path(__file__).resolve().parent
HOST_PYTHONS = ("3.11", "3.12", "3.13")
HOST_ARCHS = ("x86_64", "aarch64")
# The extra with everything that the tests need; building from a checkout needs the last two.
HOST_ROOTS = ("edgepose[dev]", "hatchling", "editables")
# No lock for armv7l: msgspec and opencv-python-headless have no wheels for it, so nothing could be sent.
DEVICE_ARCHS = ("aarch64", "x86_64")
DEVICE_PYTHONS = ("3.10", *HOST_PYTHONS)
# Where a device cannot have the host's version, and why.
NOT_AS_HOST = {"3.10": {"numpy": "numpy 2.3 and later have no wheel for Python 3.10"}}
# From this Python on there is an onnxruntime of the range in pyproject.toml.
ONNXRUNTIME_PYTHONS = HOST_PYTHONS
# manylinux_2_28 is what PyPA builds with today; Debian 10, JetPack 6 and all that came later have it.
NEWEST_GLIBC_MINOR = 28
LEGACY_TAGS = ("manylinux2014", "manylinux2010", "manylinux1")
# The first pip whose report names a wheel's License-Expression.
MIN_PIP = 25
# SPDX names of classifiers that leave no doubt (https://spdx.org/licenses).
SPDX = {"Apache Software License": "Apache-2.0", "MIT License": "MIT"}
PIN = re.compile(r"^([a-z0-9-]+)==([^\s;]+)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
MAX_ROUNDS = 8
MAX_LICENCE_CHARS = 60


class LockError(Exception):
    """Nothing can be locked; the text says why."""


@dataclass(frozen=True)
class Target:
    """For whom a lock is made."""

    arch: str
    python: str

    def environment(self, extra: str = "") -> dict[str, str]:
        """Values of the markers of PEP 508 there."""
        return {
            "implementation_name": "cpython",
            "os_name": "posix",
            "platform_machine": self.arch,
            "platform_python_implementation": "CPython",
            "platform_system": "Linux",
            "python_full_version": f"{self.python}.0",
            "python_version": self.python,
            "sys_platform": "linux",
            "extra": extra,
        }

    def wants(self, requirement: Requirement, extras: Iterable[str] = ()) -> bool:
        """Whether a requirement counts there."""
        marker = requirement.marker
        return marker is None or any(marker.evaluate(self.environment(extra)) for extra in ("", *extras))


@dataclass(frozen=True)
class Resolved:
    """A wheel that pip chose, and what it needs."""

    wheel: LockedWheel
    requires: tuple[Requirement, ...]


def main() -> None:
    """Writes the locks and says what changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--upgrade", default="", help="projects to renew, separated by commas, or all")
    parser.add_argument("--target", default="", help="one device lock alone, such as aarch64-3.14")
    options = parser.parse_args()
    upgrade = {
        name if name == "all" else canonicalize_name(name) for name in options.upgrade.split(",") if name
    }
    try:
        written = device_locks(upgrade, options.target) if options.target else all_locks(upgrade)
    except LockError as problem:
        sys.exit(f"make lock: {problem}")
    for path, text in written.items():
        before = path.read_text(encoding="ascii") if path.exists() else ""
        print(f"{path.relative_to(HERE)}: {difference(before, text)}")
        # Written when all are known: a run that breaks off leaves all locks as they were.
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="ascii")


def all_locks(upgrade: set[str]) -> dict[Path, str]:
    """The text of every lock."""
    hosts = {HERE / f"host-{python}.txt": host_lock(python, upgrade) for python in HOST_PYTHONS}
    return hosts | device_locks(upgrade, "", hosts)


def host_lock(python: str, upgrade: set[str]) -> str:
    """A lock for ``make setup`` with one Python, on all architectures."""
    print(f"Resolving host-{python} ...", file=sys.stderr)
    roots = project_requirements(HOST_ROOTS)
    pins = kept(pins_of(HERE / f"host-{python}.txt"), upgrade)
    found: dict[str, dict[str, LockedWheel]] = {}
    for arch in HOST_ARCHS:
        for wheel in resolve(roots, Target(arch, python), pins):
            found.setdefault(wheel.name, {})[arch] = wheel
            pins = {**pins, wheel.name: wheel.version}
    lines = [
        f"# What make setup installs with Python {python} on Linux ({', '.join(HOST_ARCHS)}).",
        "# Made and renewed by: make lock. From pyproject.toml: dependencies, extra dev, build-system.",
    ]
    for name in sorted(found):
        wheels = found[name]
        only = "" if len(wheels) == len(HOST_ARCHS) else f' ; platform_machine == "{next(iter(wheels))}"'
        hashes = sorted({wheel.sha256 for wheel in wheels.values()})
        version = next(iter(wheels.values())).version
        lines.append(
            " \\\n".join([f"{name}=={version}{only}", *(f"    --hash=sha256:{one}" for one in hashes)])
        )
    return "\n".join(lines) + "\n"


def device_locks(upgrade: set[str], only: str = "", hosts: dict[Path, str] | None = None) -> dict[Path, str]:
    """Locks of devices.

    Args:
        upgrade: What is to be renewed.
        only: The name of the one that is wanted; it may be of a Python that is not among the usual.
        hosts: The host's locks, where they are made anew.
    """
    wanted: list[tuple[str, Target, tuple[str, ...]]] = [
        (lock_name(arch, python, onnxruntime=bool(extras)), Target(arch, python), extras)
        for arch in DEVICE_ARCHS
        for python in DEVICE_PYTHONS
        for extras in (((), ("onnxruntime",)) if python in ONNXRUNTIME_PYTHONS else ((),))
    ]
    if only:
        arch, _, rest = only.partition("-")
        python, _, runtime = rest.partition("-")
        if not re.fullmatch(r"3\.\d+", python) or runtime not in ("", "onnxruntime"):
            raise LockError(f"a target is ARCH-PYTHON or ARCH-PYTHON-onnxruntime, found {only}.")
        wanted = [(only, Target(arch, python), (runtime,) if runtime else ())]
    return {
        HERE / "device" / f"{name}.txt": device_lock(name, target, extras, upgrade, hosts)
        for name, target, extras in wanted
    }


def device_lock(
    name: str, target: Target, extras: tuple[str, ...], upgrade: set[str], hosts: dict[Path, str] | None
) -> str:
    """A lock of a device."""
    print(f"Resolving device/{name} ...", file=sys.stderr)
    python = target.python if target.python in HOST_PYTHONS else HOST_PYTHONS[0]
    host = HERE / f"host-{python}.txt"
    as_host = pins_of(host, (hosts or {}).get(host))
    for different in NOT_AS_HOST.get(target.python, {}):
        as_host.pop(different, None)
    roots = project_requirements([f"edgepose[{','.join(extras)}]"])
    wheels = resolve(roots, target, kept(pins_of(HERE / "device" / f"{name}.txt"), upgrade) | as_host)
    more = "".join(f", extra {extra}" for extra in extras)
    floor = max(wheel.glibc_minor for wheel in wheels)
    header = (
        f"What devices with {target.arch} and Python {target.python} get (glibc 2.{floor} or later).",
        f"Made and renewed by: make lock. From pyproject.toml: dependencies{more}; pinned as {host.name}.",
    )
    return format_lock(header, wheels)


def project_requirements(roots: Iterable[str]) -> list[Requirement]:
    """Requirements with edgepose's own extras written out."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found, open_ = [], [Requirement(root) for root in roots]
    while open_:
        requirement = open_.pop()
        if requirement.name != project["name"]:
            found.append(requirement)
            continue
        texts = list(project["dependencies"])
        for extra in requirement.extras:
            texts += project["optional-dependencies"][extra]
        open_ += [Requirement(text) for text in texts]
    return sorted(set(found), key=str)


def pins_of(path: Path, text: str | None = None) -> dict[str, str]:
    """Versions in a lock."""
    if text is None:
        text = path.read_text(encoding="ascii") if path.exists() else ""
    return dict(PIN.findall(text))


def kept(pins: dict[str, str], upgrade: set[str]) -> dict[str, str]:
    """What stays as it is."""
    return (
        {} if "all" in upgrade else {name: version for name, version in pins.items() if name not in upgrade}
    )


def resolve(roots: list[Requirement], target: Target, pins: dict[str, str]) -> list[LockedWheel]:
    """The wheels for a target, all that it needs and nothing else."""
    wanted = {without_marker(requirement) for requirement in roots if target.wants(requirement)}
    for _ in range(MAX_ROUNDS):
        found = ask_pip(sorted(wanted), target, pins)
        needed, missing = closure(roots, target, found)
        if not missing:
            return [found[name].wheel for name in sorted(needed)]
        wanted |= missing
    raise LockError(f"{target.arch} with Python {target.python}: pip leaves out {', '.join(sorted(missing))}")


def closure(
    roots: Iterable[Requirement], target: Target, found: dict[str, Resolved]
) -> tuple[set[str], set[str]]:
    """What the roots need there, and requirements that what was found does not fulfil."""
    needed: set[str] = set()
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(requirement, requirement.extras) for requirement in roots if target.wants(requirement)]
    while todo:
        requirement, extras = todo.pop()
        name = canonicalize_name(requirement.name)
        there = found.get(name)
        if there is None or not requirement.specifier.contains(there.wheel.version, prereleases=True):
            missing.add(without_marker(requirement))
            continue
        needed.add(name)
        new = [extra for extra in ("", *extras) if (name, extra) not in seen]
        seen.update((name, extra) for extra in new)
        todo += [
            (one, one.extras)
            for one in there.requires
            if new and target.wants(one, [extra for extra in new if extra])
        ]
    return needed, missing


def without_marker(requirement: Requirement) -> str:
    """A requirement that counts, whoever reads it."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{requirement.specifier}"


def ask_pip(wanted: list[str], target: Target, pins: dict[str, str]) -> dict[str, Resolved]:
    """The choice of pip for a target; nothing is installed."""
    tags = [f"manylinux_2_{minor}" for minor in range(NEWEST_GLIBC_MINOR, 4, -1)] + list(LEGACY_TAGS)
    platforms = [word for tag in tags for word in ("--platform", f"{tag}_{target.arch}")]
    with TemporaryDirectory() as work:
        constraints, report = Path(work) / "constraints.txt", Path(work) / "report.json"
        constraints.write_text(
            "".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="ascii"
        )
        call = [
            "install", "--quiet", "--disable-pip-version-check", "--no-input",
            "--dry-run", "--ignore-installed", "--target", f"{work}/none", "--report", str(report),
            "--only-binary=:all:", "--implementation", "cp", "--python-version", target.python, *platforms,
            "--constraint", str(constraints), *wanted,
        ]  # fmt: skip
        done = run_python("pip", call)
        if done.returncode:
            said = [
                line
                for line in done.stderr.splitlines()
                if line.startswith(("ERROR", "    ", "The conflict"))
            ]
            head = f"nothing fits {target.arch} with Python {target.python}:"
            raise LockError("\n".join([head, *said[-12:], "See: make lock UPGRADE=NAME"]))
        answer = json.loads(report.read_text(encoding="utf-8"))
    if int(answer["pip_version"].split(".")[0]) < MIN_PIP:
        raise LockError(f"needs pip {MIN_PIP} or later, found {answer['pip_version']}; run make setup")
    entries = [resolved(entry) for entry in answer["install"]]
    return {entry.wheel.name: entry for entry in entries}


def resolved(entry: dict[str, Any]) -> Resolved:
    """An entry of pip's report (https://pip.pypa.io/en/stable/reference/installation-report)."""
    about, source = entry["metadata"], entry["download_info"]
    wheel = LockedWheel(
        name=canonicalize_name(about["name"]),
        version=about["version"],
        file=unquote(urlsplit(source["url"]).path.rpartition("/")[2]),
        sha256=source["archive_info"]["hashes"]["sha256"],
        licence=licence_of(about),
    )
    return Resolved(wheel, tuple(Requirement(text) for text in about.get("requires_dist", ())))


def licence_of(about: dict[str, Any]) -> str | None:
    """An SPDX expression where the project leaves no doubt, else its own short words in quotation marks."""
    if about.get("license_expression"):
        return str(about["license_expression"])
    prefix = "License :: OSI Approved :: "
    classified = [
        text.removeprefix(prefix) for text in about.get("classifier", ()) if text.startswith(prefix)
    ]
    if len(classified) == 1 and classified[0] in SPDX:
        return SPDX[classified[0]]
    words = classified or [text for text in [about.get("license") or ""] if "\n" not in text]
    said = ", ".join(words).strip()
    return f'"{said}"' if said and said.isascii() and len(said) <= MAX_LICENCE_CHARS else None


def difference(before: str, after: str) -> str:
    """What changed between two texts of a lock, in a line."""
    if before == after:
        return "unchanged"
    old, new = pins_of(Path(), before), pins_of(Path(), after)
    if not old:
        return f"new, {len(new)} projects"
    changes = [
        f"{name} {old.get(name, '-')} -> {new.get(name, '-')}"
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
    if not changes:
        same = HASH.findall(before) == HASH.findall(after)
        return "the same wheels, other comments" if same else "the same versions, other wheels"
    return ", ".join(changes)


if __name__ == "__main__":
    main()
