"""What a quantization is asked for, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edgepose.host.data.calibration_set import FindsPersons
from edgepose.host.sources.artifact import ModelArtifact
from edgepose.spec.device_profile import DeviceProfile
from edgepose.spec.quantization_report import QuantizationReport
from edgepose.spec.recipe import QuantizationRecipe

Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    pass


@dataclass(frozen=True)
class QuantizationRequest:
    """What to do.

    Attributes:
        source: The float model; another format than ``target`` is converted first.
        recipe: How to quantize.
        target: The format to write.
        output: The file to write.
        calibration: Data folder; a static recipe needs one, every other recipe is compared on it.
        detector: Finds persons in unlabelled pictures.
        integer_only: Whether the device needs integer inputs and outputs too.
        min_calibration_images: Fewest different pictures with a usable crop.
        seed: Draw of the crops.
        repair: Whether to search for a recipe that keeps the accuracy, from ``recipe`` on; without pictures,
            to take the repairs that need ranges alone.
        min_agreement_oks: A searched recipe that agrees less with the float model fails the gate.
        ranges: Statistics that a device sent, instead of calibration pictures.
        explain: Whether every layer's sensitivity is measured, not only the suspects'.
        delegate_profile: Whose delegate the file is checked against, or None.
        compared_crops: On how many crops the tensors are compared; 0 skips it.
        progress: Called with (done, total) calibration crops.
        say: Told what a conversion does, a line at a time.
    """

    source: ModelArtifact
    recipe: QuantizationRecipe
    target: Literal["tflite", "onnx"]
    output: Path
    calibration: Path | None = None
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
    progress: Progress = field(default=_silent)
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
class QuantizationResult:
    """What came out.

    Attributes:
        artifact: The written file.
        report: The whole record.
    """

    artifact: ModelArtifact
    report: QuantizationReport
