"""Which machine is which device."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from edgepose.records.device_profile import find_profile, load_profiles
from edgepose.runtime.machine import is_the_device, this_is_the_device
from tests.support.bundled_models import PROFILE

PI_5 = "Raspberry Pi 5 Model B Rev 1.0"
PI_4 = "Raspberry Pi 4 Model B Rev 1.4"


@pytest.mark.parametrize(
    ("profile", "machine", "model", "expected"),
    [
        ("raspberrypi5", "aarch64", PI_5, True),
        ("raspberrypi5", "aarch64", "Raspberry Pi Compute Module 5 Rev 1.0", True),
        ("raspberrypi5", "aarch64", PI_4, False),
        ("raspberrypi5", "armv7l", PI_5, False),  # a 32-bit system has other wheels
        ("raspberrypi5", "aarch64", None, False),  # an arm64 cloud machine
        ("raspberrypi4", "aarch64", PI_4, True),
        ("raspberrypi4", "aarch64", "Raspberry Pi 400 Rev 1.0", True),
        ("coral-usb-pi4", "aarch64", PI_4, True),
        ("coral-dev-board", "aarch64", "Freescale i.MX8MQ Phanbell", True),
        ("jetson-orin-nano", "aarch64", "NVIDIA Jetson Orin Nano Developer Kit", True),
        ("jetson-orin-nano", "aarch64", "NVIDIA Jetson AGX Orin Developer Kit", False),
        ("jetson-orin-nano", "x86_64", "NVIDIA Jetson Orin Nano Developer Kit", False),
        ("android-phone", "aarch64", PI_5, False),
    ],
)
def test_a_profile_knows_its_boards(profile: str, machine: str, model: str | None, expected: bool) -> None:
    assert is_the_device(find_profile(profile).hardware, machine, model) is expected


def test_every_packaged_linux_profile_names_its_boards() -> None:
    unnamed = [
        profile.id
        for profile in load_profiles()
        if profile.hardware.os == "linux" and not profile.hardware.device_tree_models
    ]
    assert unnamed == []


def test_without_board_names_the_architecture_decides() -> None:
    hardware = replace(PROFILE.hardware, arch="x86_64", device_tree_models=())
    assert is_the_device(hardware, "x86_64", None)
    assert not is_the_device(hardware, "aarch64", None)


def test_this_machine_is_not_the_board_of_the_tests() -> None:
    assert not this_is_the_device(PROFILE.hardware)
