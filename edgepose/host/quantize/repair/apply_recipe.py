"""Carries a static recipe out, step by step, and scores it; what recipes have in common is done once.

The order is fixed: equalize, put the pixels on the grid, round the weights, set the ranges, quantize. So a
recipe says everything, and the same recipe on the same crops gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgepose.errors import ConfigError
from edgepose.host.data.calibration_set import CropSample, RepresentativeInputs
from edgepose.host.evaluate.agreement import best_oks
from edgepose.host.quantize.repair.equalization import (
    equalized_constants,
    find_equalization,
    scaled_statistics,
)
from edgepose.host.quantize.repair.exact_input import ExactInput
from edgepose.host.quantize.repair.float_model import FloatModel, open_kept
from edgepose.host.quantize.repair.network import Moved, along
from edgepose.host.quantize.repair.noise_gains import noise_gains
from edgepose.host.quantize.repair.weight_rounding import rounded_constants, second_moments
from edgepose.host.quantize.tensor_ranges import (
    HISTOGRAM_METHODS,
    Histogram,
    TensorRanges,
    histogram,
    ranges_of,
)
from edgepose.pose.poses import Poses
from edgepose.records.lineage import ExcludedTensor, QuantizationRecipe
from edgepose.records.model_spec import InputSpec, ModelSpec
from edgepose.runtime.activation_statistics import ChannelStatistics, collect_statistics
from edgepose.runtime.backend import Backend, run_once
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.model_file import ModelFile
from edgepose.runtime.open_model import open_backend
from edgepose.runtime.pipeline import PosePipeline, confident
from edgepose.runtime.preprocess import Image

Progress = Callable[[int, int], None]
Statistics = Mapping[str, ChannelStatistics]

# Crops for the figures that settle soon: a tensor's histogram, a layer's moments.
_HISTOGRAM_CROPS, _MOMENT_CROPS = 32, 20
_NO_EXACT_INPUT = ExactInput({}, ())
_EXACT_REASON = "the normalization is undone in float, so that every pixel level is a whole int8 step"


@dataclass(frozen=True, eq=False)
class Stage:
    """A float model on its way to int8."""

    model: FloatModel
    statistics: Statistics
    exact_input: ExactInput


class RecipeApplier:
    """One model, its calibration crops, and every recipe for them.

    Args:
        model: The float model.
        spec: Its input.
        inputs: Calibration crops as input tensors; empty where a device sent its statistics.
        statistics: What a device sent; None: they are collected here.
        progress: Called with (done, total) crops.
    """

    def __init__(
        self,
        model: FloatModel,
        spec: InputSpec,
        inputs: RepresentativeInputs,
        statistics: Statistics | None = None,
        progress: Progress = lambda _done, _total: None,
    ) -> None:
        self._model, self._spec, self._inputs = model, spec, inputs
        self._sent = statistics
        self._progress = progress
        self._stages: dict[tuple[bool, ...], Stage] = {}
        self._histograms: dict[tuple[bool, ...], dict[str, Histogram]] = {}
        # The last file: a search ends with a recipe that it often has just carried out.
        self._last: tuple[bytes, bytes] = (b"", b"")

    @property
    def has_images(self) -> bool:
        """Whether the crops themselves are at hand."""
        return len(self._inputs) > 0

    def stage(self, recipe: QuantizationRecipe) -> Stage:
        """The float model after a recipe's changes to it.

        Raises:
            ConfigError: The recipe needs images and there are none.
        """
        key = _key(recipe)
        if key not in self._stages:
            self._stages[key] = self._made(recipe)
        return self._stages[key]

    def complete(self, recipe: QuantizationRecipe) -> QuantizationRecipe:
        """The recipe with everything named that it implies to stay in float."""
        named = {entry.name for entry in recipe.excluded}
        held = [name for name in self.stage(recipe).exact_input.float_tensors if name not in named]
        added = tuple(ExcludedTensor(name=name, reason=_EXACT_REASON) for name in held)
        return msgspec.structs.replace(recipe, excluded=(*recipe.excluded, *added)) if added else recipe

    def ranges(self, recipe: QuantizationRecipe) -> TensorRanges:
        """The range of every tensor.

        Raises:
            ConfigError: The range method needs images and there are none.
            ModelError: The model gave NaN or infinity.
        """
        stage = self.stage(recipe)
        known = self._spread(recipe) if recipe.range_method in HISTOGRAM_METHODS else None
        ranges = ranges_of(stage.statistics, recipe.range_method, known)
        for name in stage.model.network.outputs:
            # What is decoded is never cut: a heatmap's peak that saturates is a plateau without a place.
            known_output = stage.statistics[name]
            ranges[name] = float(known_output.lowest.min()), float(known_output.highest.max())
        ranges.update(stage.exact_input.ranges)
        for step in stage.model.network.steps:
            # What only moves values has the scale of what it moves.
            if isinstance(step, Moved) and len(step.sources) == 1 and step.sources[0] in ranges:
                ranges[step.output] = ranges[step.sources[0]]
        return ranges

    def quantized(self, recipe: QuantizationRecipe) -> bytes:
        """The int8 file; ``complete`` names what stays in float.

        Raises:
            ConfigError: The recipe does not fit the model or the data.
            ModelError: The quantizer cannot handle the model.
        """
        recipe = self.complete(recipe)
        identity = msgspec.json.encode(msgspec.structs.replace(recipe, name=""))
        if self._last[0] != identity:
            data = self.stage(recipe).model.quantized(recipe, self.ranges(recipe))
            self._last = (identity, data)
        return self._last[1]

    def _made(self, recipe: QuantizationRecipe) -> Stage:
        if recipe.round_weights:
            return self._rounded(recipe)
        if recipe.exact_input:
            return self._exact(recipe)
        if recipe.equalize:
            return self._equalized(recipe)
        statistics = self._sent if self._sent is not None else self._statistics_of(self._model)
        return Stage(self._model, statistics, _NO_EXACT_INPUT)

    def _equalized(self, recipe: QuantizationRecipe) -> Stage:
        before = self.stage(msgspec.structs.replace(recipe, equalize=False))
        network = before.model.network
        found = find_equalization(network, before.statistics)
        model = before.model.with_constants(equalized_constants(network, found))
        statistics = (
            self._statistics_of(model) if self.has_images else scaled_statistics(before.statistics, found)
        )
        return Stage(model, statistics, _NO_EXACT_INPUT)

    def _exact(self, recipe: QuantizationRecipe) -> Stage:
        before = self.stage(msgspec.structs.replace(recipe, exact_input=False))
        changed = before.model.with_pixels_on_grid(self._spec, symmetric=recipe.symmetric_activations)
        if changed is None:
            return before
        model, exact = changed
        statistics = self._statistics_of(model) if self.has_images else before.statistics
        return Stage(model, statistics, exact)

    def _rounded(self, recipe: QuantizationRecipe) -> Stage:
        before = self.stage(msgspec.structs.replace(recipe, round_weights=False))
        if not self.has_images:
            raise ConfigError(
                f"Recipe '{recipe.name}' rounds weights by their inputs, which ranges alone do not tell.",
                "Set round_weights to false, or give --calibration.",
            )
        network = before.model.network
        moments = second_moments(network, open_kept(before.model), self._inputs.first(_MOMENT_CROPS))
        constants = rounded_constants(network, moments, before.statistics)
        return Stage(before.model.with_constants(constants), before.statistics, before.exact_input)

    def _statistics_of(self, model: FloatModel) -> Statistics:
        return collect_statistics(open_kept(model), self._counted())

    def _counted(self) -> Iterator[NDArray[np.generic]]:
        for done, values in enumerate(self._inputs, start=1):
            yield values
            self._progress(done, len(self._inputs))

    def _spread(self, recipe: QuantizationRecipe) -> dict[str, Histogram]:
        # Rounding the weights hardly moves the values: the float model's histograms serve both.
        unrounded = msgspec.structs.replace(recipe, round_weights=False)
        key = _key(unrounded)
        if key not in self._histograms:
            if not self.has_images:
                raise ConfigError(
                    f"Range method '{recipe.range_method}' needs the pictures themselves.",
                    "Use average or minmax, or give --calibration.",
                )
            self._histograms[key] = self._histograms_of(self.stage(unrounded))
        return self._histograms[key]

    def _histograms_of(self, stage: Stage) -> dict[str, Histogram]:
        network, kept = stage.model.network, open_kept(stage.model)
        gains = noise_gains(network, stage.statistics)
        moved = {step.output for step in network.steps if isinstance(step, Moved) and len(step.sources) == 1}
        ends = {
            name: (float(known.lowest.min()), float(known.highest.max()))
            for name, known in stage.statistics.items()
            if name in network.shapes and name not in moved
        }
        weights = {
            name: _weights(gains.get(name), network.shapes[name], network.axis_of(name)) for name in ends
        }
        sums: dict[str, NDArray[np.float64]] = {}
        for values in self._inputs.first(_HISTOGRAM_CROPS):
            kept.run(values)
            for name in kept.names():
                if name in ends:
                    low, high = ends[name]
                    new = kept.look_at(name, lambda v, n=name, a=low, b=high: histogram(v, a, b, weights[n]))  # type: ignore[misc]
                    sums[name] = sums[name] + new if name in sums else new
        return {name: Histogram(*ends[name], counts) for name, counts in sums.items()}


def _key(recipe: QuantizationRecipe) -> tuple[bool, ...]:
    return (recipe.equalize, recipe.exact_input, recipe.round_weights, recipe.symmetric_activations)


def _weights(
    gains: NDArray[np.float64] | None, shape: tuple[int, ...], axis: int
) -> NDArray[np.float64] | None:
    """How much each channel's noise counts, 1 on average; None where nothing is known."""
    if gains is None or not shape or not gains.any() or len(gains) != shape[axis]:
        return None
    return along(np.asarray(gains / gains.mean()), axis, len(shape))


# Decoded images are kept up to this much; the rest is read again for every candidate.
_KEPT_BYTES = 256 * 2**20


class Scorer:
    """The float model's answers on crops that calibrate nothing, to hold candidates against.

    A pose model's score is the mean OKS with the float model's keypoints. A detector has none: its score is
    one minus the relative error of its outputs.
    """

    def __init__(self, parent: Backend, spec: ModelSpec, crops: Sequence[CropSample]) -> None:
        self._spec, self._crops, self._parent = spec, tuple(crops), parent
        self._images: dict[Path, Image] = {}
        self._expected: list[Poses] = []
        self._last: tuple[bytes, Backend] | None = None
        if spec.paradigm != "detector":
            pipeline = PosePipeline(parent, spec)
            self._expected = [self._seen_by(pipeline, crop) for crop in self._crops]

    @property
    def crops(self) -> int:
        """How many crops it judges on."""
        return len(self._crops)

    def score(self, model: bytes) -> float:
        """Scores an int8 file; 0 where the float model is sure of no person.

        Raises:
            ModelError: The file does not load, or gives values that are not finite.
        """
        with TemporaryDirectory() as folder:
            path = Path(folder) / "candidate"
            path.write_bytes(model)
            backend = open_backend(ModelFile(path, model))
            self._last = (model, backend)
            if self._spec.paradigm == "detector":
                return self._of_outputs(backend)
            return self._of_poses(PosePipeline(backend, self._spec))

    def opened(self, model: bytes) -> Backend | None:
        """The file that was scored last on its runtime, or None where it was another one."""
        return self._last[1] if self._last is not None and self._last[0] == model else None

    def _of_poses(self, pipeline: PosePipeline) -> float:
        found: list[float] = []
        for crop, expected in zip(self._crops, self._expected, strict=True):
            if len(expected):
                shipped = pipeline.estimate(self._image(crop), _boxes(crop))
                found += best_oks(expected, shipped, crop.box_xyxy_px, self._spec.min_pose_score)
        return float(np.mean(found)) if found else 0.0

    def _of_outputs(self, backend: Backend) -> float:
        signal = noise = 0.0
        inputs = RepresentativeInputs(self._spec.input, self._parent.input, self._crops)
        for values in inputs:
            exact = [output.astype(np.float64).copy() for output in run_once(self._parent, values)]
            tensor = backend.input
            given = tensor.quantize(values) if tensor.scale else values.astype(tensor.dtype)
            for expected, actual in zip(exact, run_once(backend, given), strict=True):
                signal += float(np.square(expected).sum())
                noise += float(np.square(expected - actual).sum())
        return 1.0 - min(1.0, float(np.sqrt(noise / signal))) if signal else 0.0

    def _seen_by(self, pipeline: PosePipeline, crop: CropSample) -> Poses:
        return confident(pipeline.estimate(self._image(crop), _boxes(crop)), self._spec.min_pose_score)

    def _image(self, crop: CropSample) -> Image:
        known = self._images.get(crop.image_path)
        if known is not None:
            return known
        image = read_image_rgb(crop.image_path)
        if sum(kept.nbytes for kept in self._images.values()) + image.nbytes <= _KEPT_BYTES:
            self._images[crop.image_path] = image
        return image


def _boxes(crop: CropSample) -> NDArray[np.float64] | None:
    return None if crop.box_xyxy_px is None else np.asarray(crop.box_xyxy_px, np.float64)[None]
