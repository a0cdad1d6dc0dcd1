"""A recipe's name says what it does."""

from __future__ import annotations

import re

import pytest

from edgepose.records.lineage import RECIPES, QuantizationRecipe


def decoded(name: str) -> dict[str, object]:
    """What a name promises."""
    if name in {"float16", "float32"}:
        bits = int(name.removeprefix("float"))
        return {"kind": "cast" if bits == 16 else "none", "weight_bits": bits, "activation_bits": 32}
    parts = re.fullmatch(r"(static|dynamic)_wi(\d+)(?:_ai(\d+))?(_integer_io|_symmetric)?", name)
    assert parts is not None, f"{name} does not decode"
    kind, weight, activation, suffix = parts.groups()
    return {
        "kind": kind,
        "weight_bits": int(weight),
        "activation_bits": int(activation or 32),
        "integer_io": suffix == "_integer_io",
        "symmetric_activations": suffix == "_symmetric",
    }


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_recipe_is_what_its_name_says(recipe: QuantizationRecipe) -> None:
    for field, value in decoded(recipe.name).items():
        assert getattr(recipe, field) == value, field
    assert recipe.is_integer == recipe.name.startswith("static_")


def test_a_name_without_meaning_does_not_decode() -> None:
    with pytest.raises(AssertionError, match="does not decode"):
        decoded("best_int8")
