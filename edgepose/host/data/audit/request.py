"""What a user asks an audit for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgepose.host.data.audit.fitness import DEFAULT_MINIMUM
from edgepose.spec.device_profile import find_profile

Progress = Callable[[int, int], None]


def _silent(_done: int, _total: int) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class AuditRequest:
    """An audit.

    Attributes:
        folder: The data folder.
        against: Another folder that must share no picture with it, such as the evaluation set.
        minimum: Fewest different pictures.
        model: The pose model that will be calibrated: checks preprocessing and ranges, and finds the
            persons where there are no labels.
        spec_file: Spec of a model that carries none.
        teacher: A pose model to hold the labels against.
        teacher_spec: Spec of a teacher that carries none.
        seed: Of the two halves for the ranges.
        progress: Called with (pictures read, pictures in all).
    """

    folder: Path
    against: Path | None = None
    minimum: int = DEFAULT_MINIMUM
    model: Path | None = None
    spec_file: Path | None = None
    teacher: Path | None = None
    teacher_spec: Path | None = None
    seed: int = 0
    progress: Progress = _silent


def minimum_pictures(profile_name: str | None) -> int:
    """Fewest different pictures: a device profile's ``min_calibration_images``, else the default.

    Raises:
        ConfigError: There is no such profile.
    """
    if profile_name is None:
        return DEFAULT_MINIMUM
    return find_profile(profile_name).quantization.min_calibration_images
