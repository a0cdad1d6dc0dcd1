"""Recipes by name, from a file, or the profile's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from edgepose.errors import ConfigError
from edgepose.host.models.artifact import write_metadata
from edgepose.host.quantize.recipe_choice import check_recipe_target, find_recipe, recipe_for, write_recipe
from edgepose.records.device_profile import find_profile, load_profiles
from edgepose.records.lineage import (
    LINEAGE_METADATA_KEY,
    RECIPES,
    ExcludedTensor,
    Lineage,
    ParentModel,
    QuantizationRecipe,
    lineage_to_json,
)
from edgepose.records.record import to_json
from tests.support.tiny_networks import write_tiny_onnx, write_tiny_tflite

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


FOUND = QuantizationRecipe(
    name="searched",
    kind="static",
    weight_bits=8,
    activation_bits=8,
    range_method="mse",
    equalize=True,
    exact_input=True,
    round_weights=True,
    sample_count=48,
    excluded=(ExcludedTensor(name="head/conv:0", reason='one "scale" for boxes ± and scores'),),
)


@pytest.mark.parametrize("recipe", [FOUND, *RECIPES.values()], ids=lambda recipe: recipe.name)
def test_written_recipe_is_found_again_as_it_was(tmp_path: Path, recipe: QuantizationRecipe) -> None:
    path = tmp_path / "recipe.json"
    check_recipe_target(path)
    write_recipe(path, recipe)
    assert find_recipe(str(path)) == recipe
    assert path.read_bytes().endswith(b"}\n")
    first = path.read_bytes()
    write_recipe(path, find_recipe(str(path)))
    assert path.read_bytes() == first
    write_recipe(path, msgspec.structs.replace(recipe, sample_count=1))
    assert find_recipe(str(path)) != recipe


@pytest.mark.parametrize("write", [write_tiny_onnx, write_tiny_tflite])
def test_recipe_inside_a_model_is_found(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path / "model")
    parent = ParentModel(file_name="float", sha256="0" * 64, step="source")
    lineage = Lineage(precision="int8", parents=(parent,), tools={}, recipe=FOUND)
    with pytest.raises(ConfigError, match="has no recipe inside; expected a model that edgepose quantized"):
        find_recipe(str(path))
    write_metadata(path, {LINEAGE_METADATA_KEY: lineage_to_json(lineage)})
    assert find_recipe(str(path)) == FOUND


@pytest.mark.parametrize("name", ["recipe.toml", "recipe", "missing/recipe.json", "folder.json"])
def test_target_that_cannot_hold_a_recipe_is_refused_before_the_work(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(ConfigError, match=r"expected a name ending in \.json in a folder"):
        check_recipe_target(tmp_path / name)


def test_recipe_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot write"):
        write_recipe(tmp_path / "missing" / "recipe.json", FOUND)
