"""How a model is quantized, as data whose name decodes."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.records import Record

RangeMethod = Literal["average", "minmax", "percentile", "mse", "entropy", "learned", "none"]


class ExcludedTensor(Record, frozen=True, kw_only=True):
    """A tensor or op that is left out of quantization, and why."""

    name: str
    reason: str


class QuantizationRecipe(Record, frozen=True, kw_only=True):
    """A recipe.

    The name reads ``<kind>_wi<weight bits>_ai<activation bits>`` or ``float16`` / ``float32``.

    Attributes:
        name: For example ``static_wi8_ai8``.
        kind: ``static`` needs calibration data; ``dynamic`` quantizes weights only and activations at
            run time; ``cast`` stores the weights as float16; ``none`` leaves the model as it is.
        weight_bits: Bits of a stored weight.
        activation_bits: Bits of an activation; 32 or 16 means float.
        per_channel: Whether weights have one scale per output channel.
        symmetric_activations: Whether activations have zero point 0.
        range_method: How activation ranges are set from calibration data: ``average`` takes the mean over
            the crops of each crop's least and greatest value, ``minmax`` the least and greatest of all,
            where a single odd crop widens a range for good (measured on TinyPose-256: 46.7 against 29.8 AP);
            ``percentile`` cuts 0.01 % off either end, ``mse`` takes the range with the least rounding and
            clipping noise at the outputs, ``entropy`` the one that keeps most of the distribution;
            ``learned`` says that quantization-aware fine-tuning set them, and no pictures give them again.
        exact_input: Whether the normalization is undone in float in front of the first layer, so that every
            pixel level is a whole number of int8 steps.
        equalize: Whether channels are scaled across layers so that one step fits all of a tensor.
        round_weights: Whether weights are rounded by what their inputs have in common, and biases corrected.
        integer_io: Whether the model's inputs and outputs are integer too.
        sample_count: Number of calibration crops used.
        excluded: What stays in float, each with its reason.
    """

    name: str
    kind: Literal["static", "dynamic", "cast", "none"]
    weight_bits: Literal[8, 16, 32]
    activation_bits: Literal[8, 16, 32]
    per_channel: bool = True
    symmetric_activations: bool = False
    range_method: RangeMethod = "average"
    integer_io: bool = False
    sample_count: int = 64
    exact_input: bool = False
    equalize: bool = False
    round_weights: bool = False
    excluded: tuple[ExcludedTensor, ...] = ()

    @property
    def is_integer(self) -> bool:
        """Whether activations are integer as well as weights."""
        return self.kind == "static"


RECIPES: dict[str, QuantizationRecipe] = {
    recipe.name: recipe
    for recipe in (
        QuantizationRecipe(name="static_wi8_ai8", kind="static", weight_bits=8, activation_bits=8),
        QuantizationRecipe(
            name="static_wi8_ai8_integer_io",
            kind="static",
            weight_bits=8,
            activation_bits=8,
            integer_io=True,
        ),
        QuantizationRecipe(
            name="static_wi8_ai8_symmetric",
            kind="static",
            weight_bits=8,
            activation_bits=8,
            symmetric_activations=True,
        ),
        QuantizationRecipe(
            name="dynamic_wi8", kind="dynamic", weight_bits=8, activation_bits=32, range_method="none"
        ),
        QuantizationRecipe(
            name="float16", kind="cast", weight_bits=16, activation_bits=32, range_method="none"
        ),
        QuantizationRecipe(
            name="float32", kind="none", weight_bits=32, activation_bits=32, range_method="none"
        ),
    )
}
