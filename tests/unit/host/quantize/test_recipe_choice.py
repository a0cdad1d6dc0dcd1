"""Recipes by name, from a file, or the profile's."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgepose.errors import ConfigError
from edgepose.host.quantize.recipe_choice import find_recipe, recipe_for
from edgepose.spec.device_profile import find_profile, load_profiles
from edgepose.spec.recipe import RECIPES
from edgepose.spec.records import to_json

TOML = 'name = "mine"\nkind = "static"\nweight_bits = 8\nactivation_bits = 8\n'


def test_every_built_in_recipe_is_found_and_survives_a_file(tmp_path: Path) -> None:
    for name, recipe in RECIPES.items():
        assert find_recipe(name) is recipe
        (tmp_path / "recipe.json").write_text(to_json(recipe), encoding="utf-8")
        assert find_recipe(str(tmp_path / "recipe.json")) == recipe


def test_toml_file_is_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        TOML + 'sample_count = 5\n[[excluded]]\nname = "t"\nreason = "wide range"\n', encoding="utf-8"
    )
    recipe = find_recipe(str(path))
    assert (recipe.name, recipe.sample_count) == ("mine", 5)
    assert recipe.excluded[0].reason == "wide range"


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'int9' is unknown; expected one of static_wi8_ai8,"):
        find_recipe("int9")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TOML + "bits = 8\n", "bits"),
        (TOML + "sample_count = 0\n", "sample_count"),
        (TOML + 'range_method = "none"\n', "range_method"),
        (TOML.replace("activation_bits = 8", "activation_bits = 32"), "activation_bits 8, found 8 and 32"),
        (TOML.replace("static", "cast"), "weight_bits 16"),
        (
            'name = "x"\nkind = "cast"\nweight_bits = 16\nactivation_bits = 32\ninteger_io = true\n',
            "integer_io",
        ),
    ],
)
def test_recipe_that_nobody_can_carry_out_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=found):
        find_recipe(str(path))


def test_every_profile_names_recipes_that_exist() -> None:
    for profile in load_profiles():
        for precision in profile.quantization.precisions:
            assert recipe_for(profile, precision).name == profile.quantization.recipes[precision]
        assert recipe_for(profile) == recipe_for(profile, profile.quantization.precisions[0])


def test_precision_that_the_profile_does_not_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="runs int8, not float16"):
        recipe_for(find_profile("coral"), "float16")
