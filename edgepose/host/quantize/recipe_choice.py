"""What a quantization is asked for (its recipe by name, from a file, or the profile's), and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgepose.errors import ConfigError
from edgepose.host.data.calibration_set import FindsPersons
from edgepose.host.data.data_folder import DataFolder
from edgepose.host.models.artifact import ModelArtifact
from edgepose.records.device_profile import DeviceProfile, Precision
from edgepose.records.files import write_whole
from edgepose.records.lineage import RECIPES, QuantizationRecipe
from edgepose.records.quantization import Culprit, LayerSensitivity, QuantizationReport, TensorError
from edgepose.records.record import read_json, read_toml

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
    from edgepose.host.models.artifact import open_artifact

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


Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class QuantizationRequest:
    """What to do.

    Attributes:
        source: The float model; another format than ``target`` is converted first.
        recipe: How to quantize.
        target: The format to write.
        output: The file to write.
        calibration: Data folder; a static recipe needs one, every other recipe is compared on it.
        detector: Finds persons in unlabelled images.
        integer_only: Whether the device needs integer inputs and outputs too.
        min_calibration_images: Fewest different images with a usable crop.
        seed: Draw of the crops.
        repair: Whether to search for a recipe that keeps the accuracy, from ``recipe`` on; without images,
            to take the repairs that need ranges alone.
        min_agreement_oks: A searched recipe that agrees less with the float model fails the gate.
        ranges: Statistics that a device sent, instead of calibration images.
        explain: Whether every layer's sensitivity is measured, not only the suspects'.
        delegate_profile: Whose delegate the file is checked against, or None.
        compared_crops: On how many crops the tensors are compared; 0 skips it.
        diagnose: Whether tensors and layers are looked at even where all is well.
        progress: Called with (done, total) calibration crops.
        say: Told what a conversion does, a line at a time.
    """

    source: ModelArtifact
    recipe: QuantizationRecipe
    target: Literal["tflite", "onnx"]
    output: Path
    calibration: Path | DataFolder | None = None
    detector: FindsPersons | None = None
    integer_only: bool = False
    min_calibration_images: int = 2
    seed: int = 0
    repair: bool = False
    min_agreement_oks: float = 0.0
    ranges: Path | None = None
    explain: bool = False
    delegate_profile: DeviceProfile | None = None
    compared_crops: int = 2
    diagnose: bool = True
    progress: Progress = field(default=lambda _done, _total: None)
    say: Callable[[str], None] = field(default=lambda _line: None)

    @classmethod
    def for_profile(
        cls, profile: DeviceProfile, source: ModelArtifact, recipe: QuantizationRecipe, output: Path
    ) -> QuantizationRequest:
        """What a device profile asks for; ``dataclasses.replace`` adds data and detector."""
        return cls(
            source=source,
            recipe=recipe,
            target=profile.runtime.model_format,
            output=output,
            integer_only=profile.quantization.integer_only,
            min_calibration_images=profile.quantization.min_calibration_images,
            min_agreement_oks=profile.budgets.min_agreement_oks,
            delegate_profile=profile,
        )


@dataclass(frozen=True)
class Diagnosis:
    """What int8 hurts in a model and why: layers that were rounded alone and culprits, each worst first."""

    layers: tuple[LayerSensitivity, ...]
    culprits: tuple[Culprit, ...]


NO_DIAGNOSIS = Diagnosis((), ())


@dataclass(frozen=True)
class QuantizationResult:
    """What came out."""

    artifact: ModelArtifact
    report: QuantizationReport
    compare: Callable[[], tuple[TensorError, ...]] = tuple

    def tensor_errors(self) -> tuple[TensorError, ...]:
        """Where the quantized model leaves the float one, as in the report, or measured now."""
        return self.report.tensor_errors or self.compare()
