"""docs/recipes.md explains every field of a recipe, and its example is one."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edgepose.host.quantize.recipe_choice import find_recipe
from edgepose.records.lineage import RECIPES, QuantizationRecipe

TEXT = (Path(__file__).resolve().parents[3] / "docs" / "recipes.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)` \|", re.MULTILINE)


def test_every_field_of_a_recipe_is_explained_and_nothing_else() -> None:
    assert set(ROW.findall(TEXT)) == set(QuantizationRecipe.__struct_fields__)


def test_every_builtin_recipe_is_named() -> None:
    assert [name for name in RECIPES if f"`{name}`" not in TEXT] == []


def test_the_example_is_a_recipe_that_can_be_carried_out(tmp_path: Path) -> None:
    example = re.search(r"```json\n(.*?)```", TEXT, re.DOTALL)
    assert example is not None
    file = tmp_path / "example.json"
    file.write_text(example[1], encoding="utf-8")
    recipe = find_recipe(str(file))
    assert set(msgspec.json.decode(example[1])) == set(QuantizationRecipe.__struct_fields__)
    assert recipe.excluded


@pytest.mark.parametrize("gap", ["| `equalize` |"])
def test_a_missing_row_is_noticed(gap: str) -> None:
    assert set(ROW.findall(TEXT.replace(gap, "|"))) != set(QuantizationRecipe.__struct_fields__)
