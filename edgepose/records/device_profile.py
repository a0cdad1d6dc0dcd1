"""What a device is, what its runtime needs and what a model may cost there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from edgepose.accelerators import accelerator, accelerators
from edgepose.errors import ConfigError
from edgepose.records.files import packaged_folder
from edgepose.records.record import Record, read_toml

Precision = Literal["int8", "float16", "float32"]
PositiveFloat = Annotated[float, msgspec.Meta(gt=0)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]


class HardwareProfile(Record, frozen=True, kw_only=True):
    """The device itself.

    Attributes:
        arch: ``uname -m`` of the device.
        os: Operating system family.
        python: Supported Python versions on the device; empty where the app is not Python.
        memory_mib: Memory of the smallest variant supported.
        cpu_cores: Number of CPU cores.
        device_tree_models: How the firmware's board name (``/proc/device-tree/model``) begins; empty where
            the architecture alone decides whether a machine is the device.
    """

    arch: Literal["aarch64", "armv7l", "x86_64"]
    os: Literal["linux", "android"]
    python: tuple[str, ...]
    memory_mib: PositiveInt
    cpu_cores: PositiveInt
    device_tree_models: tuple[str, ...] = ()


class RuntimeProfile(Record, frozen=True, kw_only=True):
    """The runtime that executes the model.

    Attributes:
        name: ``litert`` or ``onnxruntime``.
        model_format: File format that the runtime loads.
        min_version: Oldest runtime version that is known to work.
        threads: CPU threads given to the runtime.
        delegate: Name of an accelerator (``edgepose/accelerators``) that the runtime reaches.
        delegate_library: Shared library of an external delegate, as the loader finds it.
        delegate_required: Whether the device must refuse to run when the delegate is not used.
        fallback: Delegates allowed instead, best first; empty: none.
        max_ops_on_cpu: How many ops may stay outside the delegate on the device.
    """

    name: Literal["litert", "onnxruntime"]
    model_format: Literal["tflite", "onnx"]
    min_version: str
    threads: PositiveInt
    delegate: str
    delegate_required: bool
    delegate_library: str | None = None
    fallback: tuple[str, ...] = ()
    max_ops_on_cpu: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        wanted = [accelerator(name) for name in (self.delegate, *self.fallback)]
        wrong = [entry.name for entry in wanted if self.name not in entry.runtimes]
        if wrong:
            known = [entry.name for entry in accelerators().values() if self.name in entry.runtimes]
            raise ValueError(f"runtime '{self.name}' has no delegate {', '.join(wrong)}: {', '.join(known)}")
        wrong = [entry.name for entry in wanted[1:] if not entry.may_be_fallback]
        if wrong:
            raise ValueError(f"{', '.join(wrong)} cannot be a fallback")


class QuantizationProfile(Record, frozen=True, kw_only=True):
    """Which precisions the device runs, in the order to try them.

    Attributes:
        precisions: Best first; ``deploy`` takes the first unless told otherwise.
        recipes: The recipe used for each precision.
        integer_only: Whether every op, input and output must be integer.
        min_calibration_images: Fewest images for calibration.
    """

    precisions: tuple[Precision, ...]
    recipes: dict[Precision, str]
    integer_only: bool
    min_calibration_images: PositiveInt = 16


class Budgets(Record, frozen=True, kw_only=True):
    """What the gate judges against.

    Attributes:
        latency_p95_ms: Per frame, on the device.
        peak_memory_mib: Resident memory of the running process, on the device.
        bundle_mib: Size of the bundle file.
        max_oks_ap_drop: Allowed loss against the float parent, fraction of AP (paired).
        max_slice_drop: The same for each slice of at least 30 persons.
        min_oks_ap: Absolute floor, or none where the accuracy needed is the user's choice.
        min_agreement_oks: Mean OKS with the float parent where there are no labels.
    """

    latency_p95_ms: PositiveFloat
    peak_memory_mib: PositiveFloat
    bundle_mib: PositiveFloat
    max_oks_ap_drop: Fraction
    max_slice_drop: Fraction
    min_oks_ap: Fraction | None = None
    min_agreement_oks: Fraction = 0.95


class CameraProfile(Record, frozen=True, kw_only=True):
    """The default camera.

    Attributes:
        source: SOURCE of ``edgepose run``, for example ``picamera2://0``.
        width_px: Capture width.
        height_px: Capture height.
        fps: Frames per second asked for.
    """

    source: str
    width_px: PositiveInt
    height_px: PositiveInt
    fps: PositiveFloat


class DeviceProfile(Record, frozen=True, kw_only=True):
    """One device: ``device_profiles/<id>.toml``; its README explains every field."""

    id: str
    description: str
    hardware: HardwareProfile
    runtime: RuntimeProfile
    quantization: QuantizationProfile
    budgets: Budgets
    camera: CameraProfile
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        missing = [p for p in self.quantization.precisions if p not in self.quantization.recipes]
        if not self.quantization.precisions or missing:
            raise ValueError(f"quantization.recipes names no recipe for {', '.join(missing) or 'anything'}")
        expected_format = "tflite" if self.runtime.name == "litert" else "onnx"
        if self.runtime.model_format != expected_format:
            raise ValueError(f"runtime '{self.runtime.name}' loads {expected_format}")


def profile_paths() -> list[Path]:
    """All packaged profile files, sorted by id."""
    return sorted(packaged_folder("device_profiles").glob("*.toml"))


def load_profiles() -> list[DeviceProfile]:
    """Reads every packaged profile.

    Raises:
        ConfigError: A profile file is wrong, or two claim the same id or alias.
    """
    profiles = [read_profile(path) for path in profile_paths()]
    names = [name for profile in profiles for name in (profile.id, *profile.aliases)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"Profile name {', '.join(twice)} is used by more than one profile.")
    return profiles


def read_profile(path: Path) -> DeviceProfile:
    """Reads one profile file; its id must be the file's name.

    Raises:
        ConfigError: The file is wrong.
    """
    profile = read_toml(path, DeviceProfile)
    if profile.id != path.stem:
        raise ConfigError(f"{path} has id = '{profile.id}', expected '{path.stem}' like its file name.")
    return profile


def find_profile(name: str) -> DeviceProfile:
    """Returns the profile with this id or alias, or the one in the TOML file of this path.

    Raises:
        ConfigError: There is none.
    """
    if name.endswith(".toml"):
        return read_profile(Path(name))
    profiles = load_profiles()
    for profile in profiles:
        if name == profile.id or name in profile.aliases:
            return profile
    known = ", ".join("/".join((p.id, *p.aliases)) for p in profiles)
    raise ConfigError(
        f"Profile '{name}' is unknown; expected one of {known}.",
        "A path to your own profile ending in .toml works too.",
    )
