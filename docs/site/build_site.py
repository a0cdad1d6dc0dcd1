"""Builds the documentation site: ``make docs``.

Pages are the Markdown files of the repository, so that they read well there too. What follows from the code
is generated: the command line from click, the records from their classes, the Python API by mkdocstrings. A
link to another page stays a link; a link to a file that is no page becomes its path, so that the site names
no address outside itself. A link to nothing, a page that the navigation leaves out and a warning of the
builder end the build.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import TypeAlias

from docs.site.reference import command_pages, python_pages, record_pages
from edgepose.sandbox.python_child import run_python

PROJECT = Path(__file__).resolve().parent.parent.parent
OUT = PROJECT / "build" / "site"
Nav: TypeAlias = "list[dict[str, str | Nav]]"

# Pages that are written where their subject lies.
ELSEWHERE = {
    "ARCHITECTURE.md": "project/architecture.md",
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "concepts/security.md",
    "benchmarks/README.md": "project/benchmarks.md",
    "builtin_models/LICENSE-WEIGHTS.md": "models/licence_weights.md",
    "builtin_models/MODEL_CARD.md": "models/builtin.md",
    "calibration_data/README.md": "models/calibration_data.md",
    "device_profiles/README.md": "devices/profiles.md",
    "examples/README.md": "project/examples.md",
}
# The README is the front of the repository, index.md that of the site.
ALIASES = {"README.md": "index.md"}
ADRS = "docs/adr"
# Written by another hand; it is a page as soon as it is there.
OPTIONAL = frozenset({"docs/measurements.md"})
NAV: Nav = [
    {
        "Get started": [
            {"edgepose": "docs/index.md"},
            {"First steps": "docs/get_started.md"},
            {"From Python": "docs/python.md"},
        ]
    },
    {
        "Models": [
            {"Which model": "docs/models.md"},
            {"Your own model": "docs/own_models.md"},
            {"int8 that keeps its accuracy": "docs/quantization.md"},
            {"Recipes": "docs/recipes.md"},
            {"A student of your own": "docs/students.md"},
            {"Several machines": "docs/distributed_training.md"},
            {"The built-in models": "builtin_models/MODEL_CARD.md"},
            {"Terms of their weights": "builtin_models/LICENSE-WEIGHTS.md"},
            {"Calibration data": "calibration_data/README.md"},
        ]
    },
    {
        "Devices": [
            {"Raspberry Pi": "docs/devices/raspberry_pi.md"},
            {"Coral": "docs/devices/coral.md"},
            {"Jetson": "docs/devices/jetson.md"},
            {"Phone": "docs/devices/phone.md"},
            {"Deploying over ssh": "docs/deploy_over_ssh.md"},
            {"The service": "docs/systemd.md"},
            {"Device profiles": "device_profiles/README.md"},
        ]
    },
    {
        "Tasks": [
            {"In a clinic": "docs/tasks/clinic.md"},
            {"In a shop": "docs/tasks/shop.md"},
            {"For creators": "docs/tasks/creator.md"},
            {"For embedded engineers": "docs/tasks/embedded.md"},
        ]
    },
    {
        "Concepts": [
            {"The whole in ten words": "docs/concepts.md"},
            {"Cameras": "docs/cameras.md"},
            {"What a device counts and shows": "docs/telemetry.md"},
            {"Drift": "docs/drift.md"},
            {"Security": "SECURITY.md"},
        ]
    },
    {
        "Reference": [
            {"Python": "reference/python.md"},
            {"edgepose": "reference/edgepose.md"},
            {"edgepose-device": "reference/edgepose-device.md"},
            {"Records": "reference/records.md"},
        ]
    },
    {"Measurements": [{"Measured": "docs/measurements.md"}, {"How to repeat them": "benchmarks/README.md"}]},
    {
        "Project": [
            {"Architecture": "ARCHITECTURE.md"},
            {"Contributing": "CONTRIBUTING.md"},
            {"Examples": "examples/README.md"},
            {"Releasing": "docs/releasing.md"},
            {"Changelog": "CHANGELOG.md"},
        ]
    },
    {"Decisions": [{"All": f"{ADRS}/README.md"}]},
]

_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")


class SiteError(Exception):
    """The site cannot be built; the text says why."""


def main() -> None:
    """Writes the sources and has the site built from them."""
    try:
        write_sources(OUT)
    except SiteError as problem:
        sys.exit(f"make docs: {problem}")
    done = run_python(
        "zensical", ["build", "--strict", "--clean", "--config-file", str(OUT / "zensical.toml")]
    )
    print(done.stdout + done.stderr)
    if done.returncode != 0:
        sys.exit("make docs: the builder found something to mend, see above")
    print(f"Look at {OUT / 'html' / 'index.html'}.")


def write_sources(out: Path) -> None:
    """Writes all pages and the builder's configuration.

    Raises:
        SiteError: A link leads nowhere, or a page is missing from the navigation.
    """
    shutil.rmtree(out, ignore_errors=True)
    source = out / "source"
    generated = {**command_pages(), **record_pages(), **python_pages()}
    pages = page_targets()
    check_navigation(pages, generated)
    for origin, target in pages.items():
        _write(source / target, site_text(origin, (PROJECT / origin).read_text(encoding="utf-8"), pages))
    for target, text in generated.items():
        _write(source / target, text)
    shutil.copytree(PROJECT / "docs" / "images", source / "images", dirs_exist_ok=True)
    nav = _toml(_site_nav(NAV, pages, generated))
    settings = (PROJECT / "docs" / "site" / "zensical.toml").read_text(encoding="utf-8")
    _write(out / "zensical.toml", settings.replace("[project]\n", f"[project]\nnav = {nav}\n", 1))


def page_targets() -> dict[str, str]:
    """Every page of the repository, with its place on the site."""
    docs = sorted(path.relative_to(PROJECT).as_posix() for path in (PROJECT / "docs").rglob("*.md"))
    return {page: page.removeprefix("docs/") for page in docs} | ELSEWHERE


def check_navigation(pages: dict[str, str], generated: dict[str, str]) -> None:
    """Holds the navigation against the pages.

    Raises:
        SiteError: It names a page that is not there, or leaves one out.
    """
    named = set(_pages_of(NAV))
    adrs = {page for page in pages if page.startswith(f"{ADRS}/")}
    lost = set(pages) - named - adrs
    if lost:
        raise SiteError(f"not in NAV of {Path(__file__).name}: {', '.join(sorted(lost))}")
    missing = named - set(pages) - set(generated) - OPTIONAL
    if missing:
        raise SiteError(f"NAV names what is not there: {', '.join(sorted(missing))}")


def site_text(origin: str, text: str, pages: dict[str, str]) -> str:
    """A page with its links turned into those of the site; code is left alone.

    Raises:
        SiteError: A link leads nowhere.
    """
    lines, fenced = [], False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            line = _relinked(line, origin, pages)  # noqa: PLW2901
        lines.append(line)
    return "\n".join(lines) + "\n"


def _relinked(line: str, origin: str, pages: dict[str, str]) -> str:
    def replaced(found: re.Match[str]) -> str:
        mark, words, address = found.groups()
        if ":" in address or address.startswith("#"):
            return found.group(0)
        path, hash_mark, anchor = address.partition("#")
        there = normpath((PurePosixPath(origin).parent / path).as_posix())
        target = pages.get(there) or ALIASES.get(there)
        if target is not None:
            return f"{mark}[{words}]({_from(pages[origin], target)}{hash_mark}{anchor})"
        if there.startswith("docs/images/") and (PROJECT / there).is_file():
            return f"{mark}[{words}]({_from(pages[origin], there.removeprefix('docs/'))})"
        if not (PROJECT / there).exists():
            raise SiteError(f"{origin} links to {address}, which is not there")
        return words if there in words else f"{words} (`{there}`)"

    return _LINK.sub(replaced, line)


def _from(page: str, target: str) -> str:
    return relpath(target, PurePosixPath(page).parent.as_posix())


def _pages_of(nav: Nav) -> list[str]:
    found = []
    for entry in nav:
        for value in entry.values():
            found += [value] if isinstance(value, str) else _pages_of(value)
    return found


def _site_nav(nav: Nav, pages: dict[str, str], generated: dict[str, str]) -> Nav:
    result: Nav = []
    for entry in nav:
        for title, value in entry.items():
            if not isinstance(value, str):
                result.append({title: _site_nav(value, pages, generated)})
            elif value in pages or value in generated:
                result.append({title: pages.get(value, value)})
            if value == f"{ADRS}/README.md":
                result += [{_heading(page): pages[page]} for page in pages if re.match(rf"{ADRS}/\d", page)]
    return result


def _heading(page: str) -> str:
    with (PROJECT / page).open(encoding="utf-8") as lines:
        return next(lines).removeprefix("# ").strip()


def _toml(value: str | Nav) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    entries = (
        f"{{{', '.join(f'{_toml(title)} = {_toml(inner)}' for title, inner in entry.items())}}}"
        for entry in value
    )
    return f"[{', '.join(entries)}]"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
