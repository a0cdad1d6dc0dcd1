"""Which recipe a call uses: by name, from a file, or the profile's."""

from __future__ import annotations

from pathlib import Path

from edgepose.errors import ConfigError
from edgepose.spec.device_profile import DeviceProfile, Precision
from edgepose.spec.recipe import RECIPES, QuantizationRecipe
from edgepose.spec.records import read_json, read_toml
from edgepose.spec.whole_file import write_whole

_READERS = {".toml": read_toml, ".json": read_json}


def find_recipe(name_or_file: str) -> QuantizationRecipe:
    """Returns a built-in recipe by name, or reads one from a TOML or JSON file or a quantized model.

    Raises:
        ConfigError: The name is unknown, or the file is no recipe.
    """
    if name_or_file in RECIPES:
        return RECIPES[name_or_file]
    path = Path(name_or_file)
    if path.suffix.lower() not in _READERS and path.is_file():
        return _recipe_inside(path)
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ConfigError(
            f"Recipe '{name_or_file}' is unknown; expected one of {', '.join(RECIPES)}.",
            "A path to your own recipe ending in .toml or .json, or to a quantized model, works too.",
        )
    recipe = reader(path, QuantizationRecipe)
    _check(recipe, str(path))
    return recipe


def recipe_for(profile: DeviceProfile, precision: Precision | None = None) -> QuantizationRecipe:
    """Returns the profile's recipe for a precision, by default its first.

    Raises:
        ConfigError: The profile does not run this precision.
    """
    quantization = profile.quantization
    wanted = quantization.precisions[0] if precision is None else precision
    if wanted not in quantization.precisions:
        raise ConfigError(
            f"Profile '{profile.id}' runs {', '.join(quantization.precisions)}, not {wanted}.",
            "Choose one of these with --precision.",
        )
    return find_recipe(quantization.recipes[wanted])


def _check(recipe: QuantizationRecipe, where: str) -> None:
    """Refuses combinations that no quantizer here can carry out."""
    allowed = {
        "static": ((8,), (8,)),
        "dynamic": ((8,), (32,)),
        "cast": ((16,), (16, 32)),
        "none": ((32,), (32,)),
    }
    weights, activations = allowed[recipe.kind]
    if recipe.weight_bits not in weights or recipe.activation_bits not in activations:
        raise ConfigError(
            f"{where}: kind '{recipe.kind}' goes with weight_bits {_any_of(weights)} and activation_bits "
            f"{_any_of(activations)}, found {recipe.weight_bits} and {recipe.activation_bits}."
        )
    if recipe.range_method == "learned":
        raise ConfigError(
            f"{where}: its ranges were learned while it was fine-tuned; no pictures give them again.",
            "Quantize the float model that edgepose distill wrote beside it, by another recipe.",
        )
    if recipe.kind == "static" and (recipe.sample_count < 1 or recipe.range_method == "none"):
        raise ConfigError(f"{where}: a static recipe needs sample_count of at least 1 and a range_method.")
    if recipe.kind != "static" and recipe.integer_io:
        raise ConfigError(f"{where}: integer_io needs kind 'static', found '{recipe.kind}'.")


def _any_of(values: tuple[int, ...]) -> str:
    return " or ".join(map(str, values))


def _recipe_inside(model: Path) -> QuantizationRecipe:
    from edgepose.host.sources.artifact import open_artifact

    lineage = open_artifact(model).lineage
    if lineage is None or lineage.recipe is None:
        raise ConfigError(f"{model} has no recipe inside; expected a model that edgepose quantized.")
    _check(lineage.recipe, str(model))
    return lineage.recipe


def check_recipe_target(path: Path) -> None:
    """Checks that a recipe can be written there, before the long work.

    Raises:
        ConfigError: It cannot.
    """
    if path.suffix.lower() != ".json" or path.is_dir() or not path.parent.is_dir():
        raise ConfigError(f"Cannot write the recipe to {path}: expected a name ending in .json in a folder.")


def write_recipe(path: Path, recipe: QuantizationRecipe) -> None:
    """Writes a recipe as JSON; ``--recipe FILE`` reads it.

    Raises:
        ConfigError: The file cannot be written.
    """
    import msgspec

    try:
        write_whole(path, [msgspec.json.format(msgspec.json.encode(recipe), indent=2) + b"\n"])
    except OSError as problem:
        raise ConfigError(f"Cannot write {path}: {problem.strerror}.") from problem
