"""The documentation: links lead somewhere, every page can be reached, every command line can be typed."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import edgepose
from docs.site.build_site import (
    ELSEWHERE,
    SiteError,
    check_navigation,
    page_targets,
    site_text,
    write_sources,
)
from docs.site.reference import command_pages, python_pages, record_pages, records
from edgepose.cli.device_main import command as device_program
from edgepose.cli.main import command as program
from edgepose.trust.digests import sha256_of_file
from tests.conftest import PROJECT

PAGES = {"docs/a.md": "a.md", "docs/adr/b.md": "adr/b.md", "SECURITY.md": "concepts/security.md"}
MOST_WORDS = 700
MOST_IMAGE_BYTES = 300_000


@pytest.mark.parametrize(
    ("origin", "text", "expected"),
    [
        pytest.param("docs/a.md", "[b](adr/b.md#why)", "[b](adr/b.md#why)", id="a page below"),
        pytest.param(
            "docs/adr/b.md", "[s](../../SECURITY.md)", "[s](../concepts/security.md)", id="a page that moves"
        ),
        pytest.param("SECURITY.md", "[a](docs/a.md)", "[a](../a.md)", id="out of a page that moved"),
        pytest.param("docs/a.md", "[x](https://example.org)", "[x](https://example.org)", id="another site"),
        pytest.param(
            "docs/a.md", "[script](../Makefile)", "script (`Makefile`)", id="a file that is no page"
        ),
        pytest.param("docs/a.md", "[`Makefile`](../Makefile)", "`Makefile`", id="a file whose name is said"),
        pytest.param("docs/a.md", "```\n[x](nothing.md)\n```", "```\n[x](nothing.md)\n```", id="code"),
    ],
)
def test_links_become_those_of_the_site(origin: str, text: str, expected: str) -> None:
    assert site_text(origin, text, PAGES) == expected + "\n"


def test_a_link_to_nothing_ends_the_build() -> None:
    with pytest.raises(SiteError, match=r"docs/a\.md links to gone\.md"):
        site_text("docs/a.md", "[x](gone.md)", PAGES)


def test_a_page_that_none_can_reach_ends_the_build() -> None:
    with pytest.raises(SiteError, match=r"not in NAV.*docs/lonely\.md"):
        check_navigation({"docs/lonely.md": "lonely.md"}, {})


def test_all_pages_and_links_of_this_repository_are_whole(tmp_path: Path) -> None:
    write_sources(tmp_path)
    for target in page_targets().values():
        assert (tmp_path / "source" / target).is_file()


def test_links_of_the_readme_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)", (PROJECT / "README.md").read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (PROJECT / link).exists()] == []


def test_the_readme_is_short() -> None:
    assert len((PROJECT / "README.md").read_text(encoding="utf-8").split()) <= MOST_WORDS


def test_images_are_small_and_the_ones_whose_making_is_recorded() -> None:
    folder = PROJECT / "docs" / "images"
    made = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))["images"]
    shown = {path.name: path for path in folder.iterdir() if path.suffix != ".json"}
    assert {name: sha256_of_file(path) for name, path in shown.items()} == made
    assert all(path.stat().st_size <= MOST_IMAGE_BYTES for path in shown.values())


def test_every_command_is_on_the_page_of_its_program() -> None:
    pages = command_pages()
    for name, group in (("edgepose", program), ("edgepose-device", device_program)):
        text = pages[f"reference/{name}.md"]
        with click.Context(group) as context:
            for command in group.list_commands(context):
                assert f"\n### {name} {command}\n" in text


def test_every_public_name_is_on_the_page_of_python() -> None:
    page = python_pages()["reference/python.md"]
    assert [name for name in edgepose.__all__ if f"heading: edgepose.{name}" not in page] == ["__version__"]


def test_every_record_has_a_section_and_a_schema() -> None:
    pages = record_pages()
    assert {"edgepose.evaluation/1", "edgepose.quantization/1", "edgepose.deployment/1"} <= set(records())
    for schema in records():
        assert f"\n## {schema}\n" in pages["reference/records.md"]
        file = f"reference/schemas/{schema.replace('edgepose.', '').replace('/', '.')}.json"
        described = json.loads(pages[file])
        assert described["$ref"].removeprefix("#/$defs/") in described["$defs"]


def _typed_lines() -> Iterator[tuple[str, list[str]]]:
    for page in ["README.md", *page_targets()]:
        text = (PROJECT / page).read_text(encoding="utf-8").replace("\\\n", " ")
        for block in re.findall(r"^```(?:bash|sh)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                words = re.sub(r"\s#.*", "", line).removeprefix("$ ").removeprefix("sudo ")
                for part in re.split(r" && | \| |; ", words):
                    if re.match(r"edgepose(-device)? ", part):
                        yield page, shlex.split(part)


LINES = list(_typed_lines())


@pytest.mark.parametrize(("page", "words"), LINES, ids=[" ".join(words)[:60] for _, words in LINES])
def test_a_command_line_of_the_documentation_can_be_typed(page: str, words: list[str]) -> None:
    """Each names a command and options that exist."""
    assert unknown_words(words) == [], page


def test_a_line_with_an_option_that_is_gone_is_noticed() -> None:
    assert unknown_words(["edgepose", "run", "video.mp4", "--outptu", "x"]) == ["--outptu"]
    assert unknown_words(["edgepose", "rnu", "video.mp4"]) == ["rnu"]


def unknown_words(words: list[str]) -> list[str]:
    """Commands and options of a line that do not exist."""
    command: click.Command = {"edgepose": program, "edgepose-device": device_program}[words[0]]
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        found = command.get_command(click.Context(command), rest[0])
        if found is None:
            return [rest[0]]
        command, rest = found, rest[1:]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known |= {"--help", "--version"}
    return [word for word in rest if re.match(r"--?[a-z]", word) and word not in known]


def test_pages_from_elsewhere_are_there() -> None:
    assert [page for page in ELSEWHERE if not (PROJECT / page).is_file()] == []
