"""Device profiles: all load, names are unique, the README explains every field."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from edgepose.errors import ConfigError
from edgepose.records.device_profile import (
    Budgets,
    CameraProfile,
    DeviceProfile,
    HardwareProfile,
    QuantizationProfile,
    RuntimeProfile,
    find_profile,
    load_profiles,
    profile_paths,
    read_profile,
)
from edgepose.records.lineage import RECIPES

SECTIONS = {
    "hardware": HardwareProfile,
    "runtime": RuntimeProfile,
    "quantization": QuantizationProfile,
    "budgets": Budgets,
    "camera": CameraProfile,
}
PROFILES = load_profiles()
README = profile_paths()[0].parent / "README.md"


def explained(section: str | None) -> set[str]:
    """The fields in the table of a section of the README."""
    text = README.read_text(encoding="utf-8")
    start = text.index(f"## [{section}]" if section else "## Top level")
    table = text[start : (text + "\n## ").index("\n## ", start)]
    return set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE))


@pytest.mark.parametrize(("section", "record"), SECTIONS.items(), ids=SECTIONS)
def test_the_readme_explains_exactly_the_fields_of_a_section(
    section: str, record: type[msgspec.Struct]
) -> None:
    assert explained(section) == set(record.__struct_fields__)


def test_the_readme_explains_the_top_level_and_every_section() -> None:
    assert explained(None) | set(SECTIONS) == set(DeviceProfile.__struct_fields__)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_a_shipped_profile_is_consistent(profile: DeviceProfile) -> None:
    recipes = [RECIPES[profile.quantization.recipes[p]] for p in profile.quantization.precisions]
    for precision, recipe in zip(profile.quantization.precisions, recipes, strict=True):
        assert recipe.is_integer == (precision == "int8")
        # An integer-only device needs integer inputs and outputs too.
        assert recipe.integer_io or not profile.quantization.integer_only
    assert profile.runtime.threads <= profile.hardware.cpu_cores
    assert (profile.runtime.delegate_library is not None) == (profile.runtime.delegate == "edgetpu")
    assert profile.budgets.peak_memory_mib < profile.hardware.memory_mib


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("jetson", "jetson-orin-nano"),
        ("raspberrypi", "raspberrypi5"),
        ("coral", "coral-usb-pi4"),
        ("phone", "android-phone"),
        ("raspberrypi4", "raspberrypi4"),
    ],
)
def test_documented_aliases_name_one_profile_each(name: str, expected: str) -> None:
    assert find_profile(name).id == expected


def test_ids_and_aliases_are_unique() -> None:
    names = [name for profile in PROFILES for name in (profile.id, *profile.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_profile_is_refused_with_all_known_names() -> None:
    with pytest.raises(ConfigError) as refused:
        find_profile("toaster")
    assert all(profile.id in refused.value.message for profile in PROFILES)


def edited(folder: Path, old: str, new: str) -> Path:
    """The Raspberry Pi 5 profile with one edit, as a file of the user's own."""
    text = find_path("raspberrypi5").read_text(encoding="utf-8")
    assert old in text
    file = folder / "raspberrypi5.toml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return file


def find_path(profile_id: str) -> Path:
    return next(path for path in profile_paths() if path.stem == profile_id)


def test_a_profile_of_the_users_own_is_read_by_path(tmp_path: Path) -> None:
    file = edited(tmp_path, "latency_p95_ms = 50.0", "latency_p95_ms = 80.0")
    assert find_profile(str(file)).budgets.latency_p95_ms == 80


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "raspberrypi5"', 'id = "pi"', "like its file name"),
        ("latency_p95_ms", "latency_ms", r"latency_ms.*budgets"),
        ("threads = 4", "threads = 0", r"threads"),
        ("max_oks_ap_drop = 0.01", "max_oks_ap_drop = 1.5", "max_oks_ap_drop"),
        ("latency_p95_ms = 50.0", "latency_p95_ms = nan", "latency_p95_ms"),
        ('model_format = "tflite"', 'model_format = "onnx"', "loads tflite"),
        ('delegate = "xnnpack"', 'delegate = "tensorrt"', "no delegate tensorrt"),
        ('delegate = "xnnpack"', 'delegate = "npu"', "delegate"),
        ("fallback = []", 'fallback = ["cuda"]', "no delegate cuda"),
        ('int8 = "static_wi8_ai8"\n', "", "no recipe for int8"),
        ('precisions = ["int8", "float16", "float32"]', "precisions = []", "recipe"),
    ],
)
def test_a_wrong_profile_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_profile(edited(tmp_path, old, new))
