"""Which device this machine is."""

from __future__ import annotations

import platform
from pathlib import Path

from edgepose.spec.device_profile import HardwareProfile

_DEVICE_TREE_MODEL = Path("/proc/device-tree/model")


def is_the_device(hardware: HardwareProfile, machine: str, device_tree_model: str | None) -> bool:
    """Whether a machine is the device that a profile describes.

    Args:
        hardware: The profile's hardware.
        machine: ``uname -m``.
        device_tree_model: What the firmware says the board is, or None where it says nothing.
    """
    if hardware.os != "linux" or machine != hardware.arch:
        return False
    if not hardware.device_tree_models:
        return True
    return any((device_tree_model or "").startswith(model) for model in hardware.device_tree_models)


def this_is_the_device(hardware: HardwareProfile) -> bool:
    """Whether this very machine is the device that a profile describes."""
    return is_the_device(hardware, platform.machine(), _device_tree_model())


def _device_tree_model() -> str | None:
    """The board's name; the kernel ends it with a zero byte."""
    try:
        return _DEVICE_TREE_MODEL.read_text(encoding="utf-8", errors="replace").rstrip("\0")
    except OSError:
        # A PC has no device tree, which is the answer.
        return None
