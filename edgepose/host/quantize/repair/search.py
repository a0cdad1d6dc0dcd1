"""Finds the recipe that keeps the accuracy, trying what is cheap on the device first.

Every candidate is a recipe that is quantized for real and scored on crops that set no range; it is kept only
when it scores better than the best so far. The levels: range setting, equalization, the input's grid and the
weights' rounding, and last, where the device allows it, parts of the network in float.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from edgepose.errors import ModelError
from edgepose.host.quantize.repair.apply_recipe import RecipeApplier, Scorer, Stage
from edgepose.host.quantize.repair.network import Moved, outputs_of
from edgepose.host.quantize.repair.noise_gains import Region, float_regions, noise_gains, unlike_head
from edgepose.host.quantize.tensor_ranges import TensorRanges
from edgepose.records.lineage import ExcludedTensor, QuantizationRecipe
from edgepose.records.quantization import RepairStep

# Agreement from which on nothing more is tried.
AIM = 0.985
# Agreement from which on no part is left in float, which costs time on every frame. TinyPose-256 loses 0.3 to
# 0.7 AP at 0.98 in integers alone, and as much with its first ops in float.
AIM_BEFORE_FLOAT = 0.975
# Share of the multiplications that may stay in float.
LARGEST_FLOAT_SHARE = 0.25
# Less is within the noise of some dozen crops.
_GAIN = 0.001
# Below it poses have so little in common that what was kept was kept by chance.
_DROWNED = 0.5
REPAIRED_SUFFIX = "_repaired"
UNSUPPORTED = "this op has no int8 form here"
UNLIKE = "joins outputs whose ranges are unlike; each keeps its own scale"


@dataclass(frozen=True)
class Limits:
    """What the device allows."""

    integer_only: bool
    aim: float = AIM
    aim_before_float: float = AIM_BEFORE_FLOAT


@dataclass(frozen=True)
class Found:
    """The best recipe."""

    recipe: QuantizationRecipe
    agreement_oks: float
    steps: tuple[RepairStep, ...]


def search_recipe(
    applier: RecipeApplier,
    scorer: Scorer,
    base: QuantizationRecipe,
    limits: Limits,
    say: Callable[[str], None],
) -> Found:
    """Searches from a plain static recipe on.

    Raises:
        ConfigError: The recipe does not fit the model.
        ModelError: No candidate can be quantized at all.
    """
    search = _Search(applier, scorer, limits, say)
    search.try_recipe("plain", base)
    # It has no weights and costs next to nothing; while it drowns the scores, nothing else can be judged.
    if not limits.integer_only and not search.is_good_enough:
        search.try_unlike_head()
    search.try_levels(_range_methods, _equalized, _refined, _range_methods)
    if not limits.integer_only:
        search.try_float()
    return search.result()


def recipe_without_images(
    applier: RecipeApplier, base: QuantizationRecipe, limits: Limits
) -> QuantizationRecipe:
    """The repaired recipe that needs ranges alone, where no image can choose between candidates.

    Equalization, pixels on the grid and a joint of unlike outputs in float: what costs next to nothing on the
    device and hurts no model that it was measured on.

    Raises:
        ConfigError: The recipe does not fit the model.
        ModelError: The model cannot be quantized so.
    """
    recipe = msgspec.structs.replace(
        base,
        name=base.name.removesuffix(REPAIRED_SUFFIX) + REPAIRED_SUFFIX,
        equalize=True,
        exact_input=not limits.integer_only,
        range_method="average",
    )
    if not limits.integer_only:
        stage = applier.stage(recipe)
        region = unlike_head(stage.model.network, stage.statistics)
        if region is not None:
            recipe = _excluding(recipe, _names_of(stage, region), UNLIKE)
    return _carried_out(applier, recipe, limits)[0]


def _carried_out(
    applier: RecipeApplier, recipe: QuantizationRecipe, limits: Limits
) -> tuple[QuantizationRecipe, bytes]:
    """Quantizes; ops without an int8 form are named as such where the device runs float ops."""
    recipe = applier.complete(recipe)
    data = applier.quantized(recipe)
    if limits.integer_only:
        return recipe, data
    named = {entry.name for entry in recipe.excluded}
    left = [
        op for op in applier.stage(recipe).model.audit(data).float_ops if not named & {op.name, *op.tensors}
    ]
    if not left:
        return recipe, data
    recipe = _excluding(recipe, [op.name for op in left], UNSUPPORTED)
    return recipe, applier.quantized(recipe)


_Candidates = list[tuple[str, QuantizationRecipe]]
_Level = Callable[[QuantizationRecipe, RecipeApplier, Limits], _Candidates]


def _range_methods(best: QuantizationRecipe, applier: RecipeApplier, _limits: Limits) -> _Candidates:
    methods = (
        ("average", "minmax", "percentile", "mse", "entropy") if applier.has_images else ("average", "minmax")
    )
    return [
        (f"ranges by {method}", msgspec.structs.replace(best, range_method=method))
        for method in methods
        if method != best.range_method
    ]


def _equalized(best: QuantizationRecipe, applier: RecipeApplier, _limits: Limits) -> _Candidates:
    methods = ("average", "mse") if applier.has_images else ("average",)
    return [
        (
            f"equalization, ranges by {method}",
            msgspec.structs.replace(best, equalize=True, range_method=method),
        )
        for method in methods
    ]


def _refined(best: QuantizationRecipe, applier: RecipeApplier, limits: Limits) -> _Candidates:
    exact, rounded = {"exact_input": True}, {"round_weights": True}
    variants: list[tuple[str, dict[str, bool]]] = []
    if not limits.integer_only:
        variants.append(("pixels on the int8 grid", exact))
    if applier.has_images:
        variants.append(("weight rounding and bias correction", rounded))
    if len(variants) > 1:
        variants.append(("pixels on the grid, weight rounding and bias correction", exact | rounded))
    return [(name, msgspec.structs.replace(best, **changes)) for name, changes in variants]


class _Search:
    """The best so far, and the record of all that was tried."""

    def __init__(
        self, applier: RecipeApplier, scorer: Scorer, limits: Limits, say: Callable[[str], None]
    ) -> None:
        self._applier, self._scorer, self._limits, self._say = applier, scorer, limits, say
        self._steps: list[RepairStep] = []
        self._tried: set[bytes] = set()
        self._first_problem: ModelError | None = None
        self._plain: tuple[QuantizationRecipe, float] | None = None
        self.score = -1.0
        self.best: QuantizationRecipe = None  # type: ignore[assignment]

    @property
    def is_good_enough(self) -> bool:
        """Whether nothing more needs to be tried."""
        return self.score >= self._limits.aim

    def try_recipe(self, name: str, candidate: QuantizationRecipe) -> None:
        """Scores a candidate that is new and keeps it where it is better."""
        identity = msgspec.json.encode(msgspec.structs.replace(candidate, name=""))
        if identity in self._tried:
            return
        self._tried.add(identity)
        try:
            candidate, data = _carried_out(self._applier, candidate, self._limits)
            score = self._scorer.score(data)
        except ModelError as problem:
            # A plain int8 file that the runtime refuses to load is what a repair may heal.
            if not self._steps:
                self.best, self._first_problem = candidate, problem
            self._steps.append(RepairStep(name=name, agreement_oks=None, kept=False))
            self._say(f"  {name}: not possible ({problem.message})")
            return
        kept = score >= self.score + (_GAIN if self.score >= 0 else 0.0)
        self._steps.append(RepairStep(name=name, agreement_oks=round(score, 6), kept=kept))
        self._say(f"  {name}: OKS {score:.4f} with the float model{', kept' if kept else ''}")
        if kept:
            self.best, self.score = candidate, score
        if len(self._steps) == 1:
            self._plain = candidate, score

    def try_levels(self, *levels: _Level) -> None:
        """Tries the candidates of each level in turn, until the best is good enough."""
        for level in levels:
            if self.is_good_enough:
                return
            for name, candidate in level(self.best, self._applier, self._limits):
                self.try_recipe(name, candidate)

    def try_float(self) -> None:
        """Leaves parts in float; where that is not enough, what they drowned is judged again."""
        if not self.is_good_enough:
            self.try_unlike_head()
        if self.score < _DROWNED and self._plain is not None:
            self.best, self.score = self._plain
        for again in (False, True):
            if self.score >= self._limits.aim_before_float:
                return
            if again:
                self.try_levels(_equalized, _refined)
            self.try_float_regions()

    def try_unlike_head(self) -> None:
        """Gives outputs of unlike ranges a scale each, by leaving in float what joins them."""
        stage = self._applier.stage(self.best)
        region = unlike_head(stage.model.network, stage.statistics)
        if region is not None:
            self._try_region(region, UNLIKE)

    def try_float_regions(self) -> None:
        """Leaves the cheapest part in float that is enough, else the one that helps most."""
        stage = self._applier.stage(self.best)
        ranges = self._applier.ranges(self.best)
        base = self.best
        noisiest, loudest = _worst_tensors(stage, ranges)
        for region in float_regions(stage.model.network, noisiest, loudest, LARGEST_FLOAT_SHARE):
            self._try_region(
                region, f"{region.name} in float: {region.share:.1%} of the multiplications", base
            )
            if self.score >= self._limits.aim_before_float:
                return

    def _try_region(self, region: Region, reason: str, base: QuantizationRecipe | None = None) -> None:
        base = base or self.best
        names = _names_of(self._applier.stage(base), region)
        if {entry.name for entry in base.excluded}.issuperset(names):
            return
        self.try_recipe(f"float: {region.name}", _excluding(base, names, reason))

    def result(self) -> Found:
        """The best recipe; a changed one says so by its name.

        Raises:
            ModelError: No candidate could be quantized and loaded; the plain recipe's reason.
        """
        if self.score < 0 and self._first_problem is not None:
            raise self._first_problem
        recipe = self.best
        if any(step.kept for step in self._steps[1:]) or recipe.excluded:
            name = recipe.name.removesuffix(REPAIRED_SUFFIX) + REPAIRED_SUFFIX
            recipe = msgspec.structs.replace(recipe, name=name)
        return Found(recipe, self.score, tuple(self._steps))


def _worst_tensors(stage: Stage, ranges: TensorRanges) -> tuple[list[str], list[str]]:
    """Worst first: by rounding noise against the own signal, and by the noise it adds to the outputs."""
    network = stage.model.network
    gains = noise_gains(network, stage.statistics)
    own: dict[str, float] = {}
    added: dict[str, float] = {}
    for step in network.steps:
        for name in outputs_of(step):
            known, ends = stage.statistics.get(name), ranges.get(name)
            if known is None or ends is None:
                continue
            rounding = ((max(ends[1], 0.0) - min(ends[0], 0.0)) / 255.0) ** 2 / 12.0
            added[name] = rounding * float(np.sum(gains.get(name, 0.0)))
            if not isinstance(step, Moved):
                own[name] = rounding / max(float(known.mean_square.mean()), 1e-30)
    return _descending(own), _descending(added)


def _descending(noise: dict[str, float]) -> list[str]:
    return sorted(noise, key=lambda name: (-noise[name], name))


def _names_of(stage: Stage, region: Region) -> list[str]:
    """What a recipe must exclude so that a region stays in float."""
    return [name for tensor in region.tensors for name in stage.model.ops_writing(tensor)]


def _excluding(recipe: QuantizationRecipe, names: Sequence[str], reason: str) -> QuantizationRecipe:
    known = {entry.name for entry in recipe.excluded}
    added = tuple(
        ExcludedTensor(name=name, reason=reason) for name in dict.fromkeys(names) if name not in known
    )
    return msgspec.structs.replace(recipe, excluded=(*recipe.excluded, *added))
