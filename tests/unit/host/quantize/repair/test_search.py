"""The search for a recipe: what it tries, in which order, what it keeps, and when it stops.

Quantizing and scoring are played by doubles that answer by the recipe alone, so that every outcome can be
told from the rules in the module's docstring; ``test_repair_zoo.py`` runs the real ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pytest

from edgepose.errors import ModelError
from edgepose.host.models.audit import AuditedOp, OpAudit
from edgepose.host.quantize.repair.network import Moved, Network, Step, Weighted
from edgepose.host.quantize.repair.search import Found, Limits, recipe_without_images, search_recipe
from edgepose.records.lineage import RECIPES, ExcludedTensor, QuantizationRecipe
from edgepose.records.quantization import RepairStep
from edgepose.runtime.activation_statistics import ChannelStatistics

PLAIN = RECIPES["static_wi8_ai8"]
ANY_OP = Limits(integer_only=False)
INTEGERS = Limits(integer_only=True)
Score = Callable[[QuantizationRecipe], float]
# What each level tries with crops at hand, in the order in which it is tried.
RANGES = [f"ranges by {method}" for method in ("minmax", "percentile", "mse", "entropy")]
EQUALIZED = ["equalization, ranges by average", "equalization, ranges by mse"]
GRID, ROUNDING = "pixels on the int8 grid", "weight rounding and bias correction"
BOTH = "pixels on the grid, weight rounding and bias correction"
JOINT = "float: the unlike outputs' joint"


def statistics(reach: float = 1.0, power: float = 1.0, low: float | None = None) -> ChannelStatistics:
    one = np.ones(1)
    low = -reach if low is None else low
    return ChannelStatistics(
        low=low * one,
        high=reach * one,
        lowest=low * one,
        highest=reach * one,
        mean=0 * one,
        mean_square=power * one,
        active=one,
        whole_low=low * one,
        whole_high=reach * one,
    )


def chain(costs: list[int]) -> Network:
    """Layers t0 -> t1 -> ...; layer i has costs[i] weights and one place."""
    network = Network(inputs=("t0",), outputs=(f"t{len(costs)}",), shapes={})
    network.shapes = {f"t{i}": (1, 1, 1, 1) for i in range(len(costs) + 1)}
    network.steps = [
        Weighted(
            source=f"t{i}",
            output=f"t{i + 1}",
            weights=f"w{i}",
            bias=None,
            to_matrix=(0, 3, 1, 2),
            reads=np.zeros((1, 1), np.int64),
            channel_axes=(-1, -1),
        )
        for i in range(len(costs))
    ]
    network.constants = {f"w{i}": np.ones((1, cost, 1, 1), np.float32) for i, cost in enumerate(costs)}
    return network


def two_heads(reaches: tuple[float, float]) -> tuple[Network, dict[str, ChannelStatistics]]:
    """Two layers whose outputs are joined at the end."""
    network = chain([1, 1])
    joint = Moved(("t1", "t2"), "joint", lambda a, b: np.concatenate([a, b], axis=3))
    steps: list[Step] = [*network.steps, joint]
    network.shapes["joint"] = (1, 1, 1, 2)
    network.outputs, network.steps = ("joint",), steps
    return network, {"t1": statistics(reaches[0]), "t2": statistics(reaches[1]), "joint": statistics()}


@dataclass
class PlayedModel:
    network: Network
    floats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def ops_writing(self, tensor: str) -> tuple[str, ...]:
        return (f"op of {tensor}",)

    def audit(self, data: bytes) -> OpAudit:
        kept = {entry.name for entry in msgspec.json.decode(data, type=QuantizationRecipe).excluded}
        ops = [AuditedOp("OP", name, tensors) for name, tensors in self.floats.items()]
        ops += [AuditedOp("OP", name, ()) for name in kept - set(self.floats)]
        return OpAudit({}, tuple(ops), (), integer_only=False)


@dataclass
class PlayedStage:
    model: PlayedModel
    statistics: Mapping[str, ChannelStatistics]


@dataclass
class PlayedApplier:
    """An int8 file is the recipe that made it."""

    network: Network
    known: Mapping[str, ChannelStatistics]
    has_images: bool = True
    floats: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    impossible: Callable[[QuantizationRecipe], bool] = lambda _recipe: False
    made: list[QuantizationRecipe] = field(default_factory=list)

    def stage(self, _recipe: QuantizationRecipe) -> PlayedStage:
        return PlayedStage(PlayedModel(self.network, self.floats), self.known)

    def complete(self, recipe: QuantizationRecipe) -> QuantizationRecipe:
        return recipe

    def ranges(self, _recipe: QuantizationRecipe) -> dict[str, tuple[float, float]]:
        unknown = dict.fromkeys(self.network.shapes, (-1.0, 1.0))
        return unknown | {n: (float(s.lowest.min()), float(s.highest.max())) for n, s in self.known.items()}

    def quantized(self, recipe: QuantizationRecipe) -> bytes:
        self.made.append(recipe)
        if self.impossible(recipe):
            raise ModelError(f"no int8 form {len(self.made)}")
        return msgspec.json.encode(recipe)


@dataclass
class PlayedScorer:
    value: Score
    asked: list[QuantizationRecipe] = field(default_factory=list)

    def score(self, data: bytes) -> float:
        self.asked.append(msgspec.json.decode(data, type=QuantizationRecipe))
        return self.value(self.asked[-1])


def search(
    score: Score, limits: Limits = ANY_OP, base: QuantizationRecipe = PLAIN, **applier: Any
) -> tuple[Found, PlayedScorer, list[str]]:
    applier.setdefault("network", chain([1]))
    applier.setdefault("known", {})
    scorer, said = PlayedScorer(score), list[str]()
    found = search_recipe(PlayedApplier(**applier), scorer, base, limits, said.append)  # type: ignore[arg-type]
    return found, scorer, said


def names(found: Found) -> list[str]:
    return [step.name for step in found.steps]


def kept(found: Found) -> list[str]:
    return [step.name for step in found.steps if step.kept]


def adding_up(recipe: QuantizationRecipe) -> float:
    """Every repair helps a little, mse most of the range methods."""
    method = {"average": 0.0, "minmax": -0.1, "percentile": 0.01, "mse": 0.02, "entropy": 0.0}
    return (
        0.6
        + method[recipe.range_method]
        + 0.1 * recipe.equalize
        + 0.04 * recipe.exact_input
        + 0.05 * recipe.round_weights
    )


def test_each_level_builds_on_the_best_of_the_one_before() -> None:
    found, _, _ = search(adding_up)
    assert found.recipe == msgspec.structs.replace(
        PLAIN,
        name="static_wi8_ai8_repaired",
        range_method="mse",
        equalize=True,
        exact_input=True,
        round_weights=True,
    )
    assert found.agreement_oks == pytest.approx(0.81)
    assert kept(found) == ["plain", "ranges by percentile", "ranges by mse", *EQUALIZED, GRID, ROUNDING, BOTH]


def test_all_that_is_tried_is_told_in_order_with_its_score() -> None:
    found, scorer, said = search(adding_up)
    assert names(found) == [
        "plain",
        *RANGES,
        *EQUALIZED,
        GRID,
        ROUNDING,
        BOTH,
        "ranges by average",
        *(name for name in RANGES if name != "ranges by mse"),
    ]
    assert found.steps[0] == RepairStep(name="plain", agreement_oks=0.6, kept=True)
    assert found.steps[1] == RepairStep(name="ranges by minmax", agreement_oks=0.5, kept=False)
    assert [step.agreement_oks for step in found.steps] == [
        pytest.approx(adding_up(each)) for each in scorer.asked
    ]
    assert said[:2] == [
        "  plain: OKS 0.6000 with the float model, kept",
        "  ranges by minmax: OKS 0.5000 with the float model",
    ]
    assert len(said) == len(found.steps)


def test_range_methods_are_tried_again_after_the_repair_of_what_drowned_them() -> None:
    def score(recipe: QuantizationRecipe) -> float:
        return (
            0.5
            + 0.2 * recipe.round_weights
            + 0.1 * (recipe.round_weights and recipe.range_method == "entropy")
        )

    found, _, _ = search(score)
    assert found.recipe.range_method == "entropy"
    assert kept(found)[-1] == "ranges by entropy"


def test_a_plain_recipe_that_is_good_enough_ends_the_search_and_keeps_its_name() -> None:
    found, _, _ = search(lambda _recipe: 0.985)
    assert names(found) == ["plain"]
    assert found == Found(PLAIN, 0.985, found.steps)


def test_no_level_begins_once_the_aim_is_reached() -> None:
    found, _, _ = search(lambda recipe: 0.99 if recipe.range_method == "percentile" else 0.9)
    # The level that was begun is tried to its end.
    assert names(found) == ["plain", *RANGES]


def test_a_gain_within_the_noise_of_the_crops_is_not_kept() -> None:
    gains = {"average": 0.0, "minmax": 0.0009, "percentile": 0.0011, "mse": 0.0015, "entropy": 0.0022}
    found, _, _ = search(lambda recipe: 0.8 + gains[recipe.range_method] - 0.5 * recipe.equalize, INTEGERS)
    assert kept(found) == ["plain", "ranges by percentile", "ranges by entropy"]


def test_the_least_gain_that_is_kept() -> None:
    found, _, _ = search(lambda recipe: 0.501 if recipe.range_method == "mse" else 0.5, INTEGERS)
    assert kept(found) == ["plain", "ranges by mse"]


def test_a_score_is_told_to_a_millionth() -> None:
    found, _, _ = search(lambda _recipe: 0.98765432)
    assert found.steps[0].agreement_oks == 0.987654


def test_a_plain_recipe_that_scores_nothing_is_still_the_first_best() -> None:
    found, _, _ = search(lambda _recipe: 0.0, INTEGERS)
    assert found.recipe == PLAIN
    assert kept(found) == ["plain"]


def test_no_recipe_is_quantized_twice() -> None:
    _, scorer, _ = search(adding_up)
    bare = [msgspec.structs.replace(recipe, name="") for recipe in scorer.asked]
    assert len(set(map(msgspec.json.encode, bare))) == len(bare)


def test_nothing_stays_in_float_where_the_device_runs_integers_only() -> None:
    network, known = two_heads((1.0, 100.0))
    found, scorer, _ = search(lambda _recipe: 0.3, INTEGERS, network=network, known=known)
    assert names(found) == ["plain", *RANGES, *EQUALIZED, ROUNDING]
    assert not any(recipe.exact_input or recipe.excluded for recipe in scorer.asked)


def test_without_crops_only_what_ranges_alone_allow_is_tried() -> None:
    found, _, _ = search(lambda _recipe: 0.3, has_images=False)
    assert names(found) == ["plain", "ranges by minmax", EQUALIZED[0], GRID]


def test_the_best_method_of_the_ranges_is_not_tried_again_under_another_name() -> None:
    # What ships names the op that stays in float, so that it is not the recipe that was asked for.
    found, _, _ = search(lambda _recipe: 0.5, floats={"odd op": ()})
    assert "ranges by average" not in names(found)


def test_unlike_outputs_are_parted_first_as_they_drown_everything_else() -> None:
    network, known = two_heads((1.0, 9.0))
    found, scorer, _ = search(lambda recipe: 0.99 if recipe.excluded else 0.4, network=network, known=known)
    assert names(found) == ["plain", JOINT]
    assert scorer.asked[1].excluded == (
        ExcludedTensor(
            name="op of joint", reason="joins outputs whose ranges are unlike; each keeps its own scale"
        ),
    )
    assert found.recipe.name == "static_wi8_ai8_repaired"


def test_outputs_of_like_ranges_stay_joined() -> None:
    network, known = two_heads((1.0, 8.0))
    found, _, _ = search(lambda _recipe: 0.4, network=network, known=known)
    assert JOINT not in names(found)


def test_a_good_plain_recipe_parts_no_outputs() -> None:
    network, known = two_heads((1.0, 100.0))
    found, _, _ = search(lambda _recipe: 0.99, network=network, known=known)
    assert names(found) == ["plain"]


def test_outputs_are_parted_again_on_top_of_what_was_kept() -> None:
    network, known = two_heads((1.0, 100.0))

    def score(recipe: QuantizationRecipe) -> float:
        return 0.6 + 0.1 * recipe.equalize + 0.2 * (recipe.equalize and bool(recipe.excluded))

    found, _, _ = search(score, network=network, known=known)
    assert names(found).count(JOINT) == 2
    assert found.recipe.equalize
    assert [entry.name for entry in found.recipe.excluded] == ["op of joint"]


# Twelve layers; the last two have 2 of 120 weights, the last four 4, the first eight 116.
LAYERS = [1] * 7 + [109] + [1] * 4


def excluded(recipe: QuantizationRecipe) -> set[str]:
    return {entry.name.removeprefix("op of t") for entry in recipe.excluded}


def test_no_part_stays_in_float_where_integers_are_good_enough_for_that() -> None:
    found, _, _ = search(lambda _recipe: 0.975, network=chain(LAYERS))
    assert not any(name.startswith("float: ") for name in names(found))


def test_the_cheapest_part_that_is_enough_stays_in_float() -> None:
    found, scorer, _ = search(
        lambda recipe: 0.98 if excluded(recipe) == {"9", "10", "11", "12"} else 0.9, network=chain(LAYERS)
    )
    floats = [name for name in names(found) if name.startswith("float: ")]
    # The front of eight, dearer than a quarter of the work, is never tried.
    assert floats == ["float: the last 2 ops", "float: the last 4 ops"]
    assert found.recipe == msgspec.structs.replace(scorer.asked[-1], name="static_wi8_ai8_repaired")
    assert {entry.reason for entry in found.recipe.excluded} == {
        "the last 4 ops in float: 3.3% of the multiplications"
    }


def test_a_part_that_is_just_enough_ends_the_search() -> None:
    found, _, _ = search(lambda recipe: 0.975 if excluded(recipe) else 0.9, network=chain(LAYERS))
    assert names(found)[-1] == "float: the last 2 ops"


def test_a_part_of_more_than_a_quarter_of_the_work_is_not_tried() -> None:
    # The last two layers have 26 %, the last four 52 %.
    found, _, _ = search(lambda _recipe: 0.9, network=chain([3] * 8 + [13] * 4))
    assert not any(name.startswith("float: the last") for name in names(found))
    found, _, _ = search(lambda _recipe: 0.9, network=chain([4] * 8 + [8] * 4))
    assert "float: the last 2 ops" in names(found)


def test_what_the_user_keeps_in_float_is_named_once() -> None:
    base = msgspec.structs.replace(PLAIN, excluded=(ExcludedTensor(name="op of t12", reason="asked for"),))
    found, _, _ = search(
        lambda recipe: 0.98 if len(recipe.excluded) > 1 else 0.9, base=base, network=chain(LAYERS)
    )
    assert [(entry.name, entry.reason) for entry in found.recipe.excluded] == [
        ("op of t12", "asked for"),
        ("op of t11", "the last 2 ops in float: 1.7% of the multiplications"),
    ]


def test_parts_are_tried_one_by_one_and_the_search_stops_at_the_first_that_is_enough() -> None:
    found, scorer, _ = search(lambda recipe: 0.98 if excluded(recipe) else 0.9, network=chain(LAYERS))
    assert names(found)[-1] == "float: the last 2 ops"
    assert excluded(scorer.asked[-1]) == {"11", "12"}


def test_parts_do_not_add_up_and_the_one_that_helps_most_is_kept() -> None:
    helps = {("11", "12"): 0.92, ("10", "11", "12", "9"): 0.94}
    found, scorer, _ = search(
        lambda recipe: helps.get(tuple(sorted(excluded(recipe))), 0.9), network=chain(LAYERS)
    )
    assert excluded(found.recipe) == {"9", "10", "11", "12"}
    assert {len(excluded(recipe)) for recipe in scorer.asked} == {0, 2, 4}


def test_what_the_float_part_drowned_is_judged_again() -> None:
    def score(recipe: QuantizationRecipe) -> float:
        return 0.9 + bool(recipe.excluded) * (0.02 + 0.06 * recipe.equalize)

    found, _, _ = search(score, network=chain(LAYERS))
    assert found.recipe.equalize
    assert excluded(found.recipe) == {"11", "12"}
    assert found.agreement_oks == pytest.approx(0.98)
    assert kept(found) == ["plain", "float: the last 2 ops", EQUALIZED[0]]


def test_what_was_kept_by_chance_among_drowned_poses_is_dropped_before_parts_are_tried() -> None:
    def score(recipe: QuantizationRecipe) -> float:
        if recipe.excluded:
            return 0.98 if recipe.range_method == "average" and not recipe.equalize else 0.1
        return 0.3 + 0.1 * (recipe.range_method == "minmax")

    found, _, _ = search(score, network=chain(LAYERS))
    assert kept(found) == ["plain", "ranges by minmax", "float: the last 2 ops"]
    # Nothing else is tried on the plain recipe before.
    assert names(found) == [
        "plain",
        *RANGES,
        *EQUALIZED,
        GRID,
        ROUNDING,
        BOTH,
        "float: the last 2 ops",
    ]
    assert (found.recipe.range_method, found.recipe.equalize) == ("average", False)


def test_poses_that_have_half_in_common_are_not_drowned() -> None:
    def score(recipe: QuantizationRecipe) -> float:
        if recipe.excluded:
            return 0.98 if recipe.range_method == "minmax" else 0.1
        return 0.5 * (recipe.range_method == "minmax") + 0.3 * (recipe.range_method != "minmax")

    found, _, _ = search(score, network=chain(LAYERS))
    assert found.recipe.range_method == "minmax"
    assert found.agreement_oks == pytest.approx(0.98)


def test_the_ops_around_the_noisiest_tensor_are_tried() -> None:
    # Layer 6 has a wide range and hardly any signal: its rounding is the worst against its own signal.
    known = {f"t{i}": statistics() for i in range(1, 13)} | {"t6": statistics(reach=50.0, power=0.01)}
    costs = [100] * 12
    costs[5:7] = [1, 1]
    found, scorer, _ = search(
        lambda recipe: 0.98 if excluded(recipe) == {"6", "7"} else 0.9, network=chain(costs), known=known
    )
    assert excluded(found.recipe) == {"6", "7"}
    assert found.agreement_oks == pytest.approx(0.98)
    assert len([recipe for recipe in scorer.asked if recipe.excluded]) == 1


def worst(kind: str, known: dict[str, ChannelStatistics], network: Network | None = None) -> set[str]:
    """What the search leaves in float around the worst tensor; of a chain, its writer and its reader."""
    quiet = {f"t{i}": statistics(reach=0.001) for i in range(1, 13)}
    found, scorer, _ = search(lambda _recipe: 0.9, network=network or chain([1] * 12), known=quiet | known)
    asked = [recipe for recipe in scorer.asked if any(f"the 1 {kind} " in e.reason for e in recipe.excluded)]
    assert names(found).count(f"float: the ops around the 1 {kind}") == len(asked) == 1
    return excluded(asked[0])


@pytest.mark.parametrize(
    ("noisy", "less"),
    [
        # Range squared over the mean square: 100 / 4 against 16 / 1, though the ranges are as 10 / 4 to 4.
        (statistics(reach=5.0, power=4.0), statistics(reach=2.0, power=1.0)),
        # 16 / 1 against 100 / 8, though the cubes are as 64 to 125.
        (statistics(reach=2.0, power=1.0), statistics(reach=5.0, power=8.0)),
        # A signal of half the power is twice as noisy.
        (statistics(reach=1.0, power=0.5), statistics(reach=1.1, power=1.0)),
        # Zero belongs to every range.
        (statistics(low=0.9, reach=2.0), statistics(low=0.0, reach=1.5)),
        (statistics(low=-2.0, reach=-0.9), statistics(low=-1.5, reach=0.0)),
        (statistics(low=-3.0, reach=1.0), statistics(low=0.0, reach=2.0)),
        (statistics(low=0.0, reach=0.8), statistics(low=0.0, reach=0.5)),
        (statistics(low=-0.8, reach=0.0), statistics(low=-0.5, reach=0.0)),
    ],
)
def test_noise_is_that_of_rounding_to_255_steps_against_the_signal(
    noisy: ChannelStatistics, less: ChannelStatistics
) -> None:
    # Equal noise would be decided by the name.
    assert worst("noisiest tensors", {"t7": noisy, "t3": less}) == {"7", "8"}


def test_the_loudest_tensor_is_the_one_whose_noise_arrives() -> None:
    # All before the seventh layer arrives nine times as loud.
    network = chain([1] * 12)
    network.constants["w6"] = 3 * np.ones((1, 1, 1, 1), np.float32)
    known = {"t4": statistics(reach=1.0, power=1e6), "t9": statistics(reach=2.0, power=1e-6)}
    assert worst("tensors with most noise at the outputs", known, network) == {"4", "5"}
    assert worst("noisiest tensors", known, network) == {"9", "10"}


def test_a_tensor_that_reaches_no_output_is_not_loud() -> None:
    network = chain([1] * 12)
    network.steps.append(
        Weighted(
            source="t1",
            output="side",
            weights="w0",
            bias=None,
            to_matrix=(0, 3, 1, 2),
            reads=np.zeros((1, 1), np.int64),
            channel_axes=(-1, -1),
        )
    )
    network.shapes["side"] = (1, 1, 1, 1)
    known = {"side": statistics(reach=100.0), "t5": statistics(reach=0.1)}
    assert worst("tensors with most noise at the outputs", known, network) == {"5", "6"}


def test_a_tensor_that_was_never_seen_is_not_ranked() -> None:
    # Its range of -1 to 1 would be the widest.
    quiet = {f"t{i}": statistics(reach=0.001) for i in range(1, 13) if i != 6}
    _, scorer, _ = search(lambda _recipe: 0.9, network=chain([1] * 12), known=quiet)
    around = [r for r in scorer.asked if any("the 1 noisiest" in e.reason for e in r.excluded)]
    assert [excluded(recipe) for recipe in around] == [{"1", "2"}]


def test_a_moved_tensor_has_no_rounding_of_its_own() -> None:
    # The joint is the worst of all by far, and only hands on what others rounded.
    network, known = two_heads((1.0, 1.0))
    known["joint"] = statistics(reach=1000.0, power=1e-6)
    found, _, _ = search(lambda _recipe: 0.9, network=network, known=known)
    reasons = [name for name in names(found) if "noisiest" in name]
    assert reasons == []


def test_a_plain_file_that_does_not_load_may_be_healed() -> None:
    found, _, said = search(
        lambda _recipe: 0.99,
        impossible=lambda recipe: not recipe.equalize and recipe.range_method == "average",
    )
    assert found.steps[0] == RepairStep(name="plain", agreement_oks=None, kept=False)
    assert said[0] == "  plain: not possible (no int8 form 1)"
    assert found.recipe.range_method == "minmax"
    assert found.recipe.name == "static_wi8_ai8_repaired"


def test_where_no_candidate_is_possible_the_plain_recipes_reason_is_told() -> None:
    with pytest.raises(ModelError, match=r"^no int8 form 1$"):
        search(lambda _recipe: 0.99, impossible=lambda _recipe: True)


def test_a_candidate_that_is_possible_and_scores_nothing_is_still_an_answer() -> None:
    found, _, _ = search(
        lambda _recipe: 0.0, INTEGERS, impossible=lambda recipe: recipe.range_method == "average"
    )
    assert (found.recipe.range_method, found.agreement_oks) == ("minmax", 0.0)


def test_a_candidate_that_is_not_possible_leaves_the_best_as_it_was() -> None:
    found, _, _ = search(adding_up, impossible=lambda recipe: recipe.range_method == "mse")
    assert found.recipe.range_method == "percentile"
    assert RepairStep(name="ranges by mse", agreement_oks=None, kept=False) in found.steps


def test_an_op_without_an_int8_form_is_named_in_the_recipe_that_ships() -> None:
    found, _, _ = search(
        lambda _recipe: 0.99, base=PLAIN, network=chain([1]), floats={"odd op": ("its output",)}
    )
    assert found.recipe.excluded == (ExcludedTensor(name="odd op", reason="this op has no int8 form here"),)
    assert found.recipe.name == "static_wi8_ai8_repaired"


def test_an_op_that_is_excluded_by_its_tensor_is_not_named_again() -> None:
    base = msgspec.structs.replace(PLAIN, excluded=(ExcludedTensor(name="its output", reason="asked for"),))
    found, _, _ = search(lambda _recipe: 0.99, base=base, floats={"odd op": ("its output",)})
    assert [entry.name for entry in found.recipe.excluded] == ["its output"]


def test_integers_only_never_exclude_an_op() -> None:
    found, _, _ = search(lambda _recipe: 0.99, INTEGERS, floats={"odd op": ("its output",)})
    assert found.recipe == PLAIN


def test_a_repaired_recipe_that_is_repaired_again_has_its_name_once() -> None:
    base = msgspec.structs.replace(PLAIN, name="static_wi8_ai8_repaired")
    found, _, _ = search(adding_up, base=base)
    assert found.recipe.name == "static_wi8_ai8_repaired"


@pytest.mark.parametrize("integer_only", [True, False])
def test_without_pictures_the_recipe_has_what_never_hurt(integer_only: bool) -> None:
    network, known = two_heads((1.0, 100.0))
    applier = PlayedApplier(network, known, has_images=False)
    recipe = recipe_without_images(applier, PLAIN, Limits(integer_only=integer_only))  # type: ignore[arg-type]
    assert recipe == msgspec.structs.replace(
        PLAIN,
        name="static_wi8_ai8_repaired",
        equalize=True,
        exact_input=not integer_only,
        range_method="average",
        excluded=recipe.excluded,
    )
    assert [entry.name for entry in recipe.excluded] == ([] if integer_only else ["op of joint"])


def test_without_pictures_like_outputs_stay_joined() -> None:
    network, known = two_heads((1.0, 2.0))
    applier = PlayedApplier(network, known, has_images=False)
    assert recipe_without_images(applier, PLAIN, ANY_OP).excluded == ()  # type: ignore[arg-type]
