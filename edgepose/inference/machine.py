"""What this machine says about itself; what it cannot say is None."""

from __future__ import annotations

import platform
import resource
import sys
from pathlib import Path

from edgepose.spec.device_profile import HardwareProfile

SYSFS = Path("/sys")
_DEVICE_TREE_MODEL = Path("/proc/device-tree/model")


def architecture() -> str:
    """``uname -m``."""
    return platform.machine()


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
    """The board's name, None on a PC; the kernel ends it with a zero byte."""
    text = _read(str(_DEVICE_TREE_MODEL))
    return text.rstrip("\0").strip() if text else None


def board_model() -> str | None:
    """The board's name from the device tree, else the CPU's name."""
    text = _device_tree_model()
    if text:
        return text
    for line in (_read("/proc/cpuinfo") or "").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return None


def cpu_governor() -> str | None:
    """Frequency governor of the first core."""
    return _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def temperature_celsius(sysfs: Path = SYSFS) -> float | None:
    """The hottest thermal zone."""
    zones = [_read(str(path)) for path in (sysfs / "class" / "thermal").glob("thermal_zone*/temp")]
    values = [int(zone) / 1000 for zone in zones if zone and zone.lstrip("-").isdigit()]
    return max(values, default=None)


def throttled() -> bool | None:
    """Whether a Raspberry Pi's firmware reports throttling now (bits 0 to 3 of ``get_throttled``)."""
    text = _read("/sys/devices/platform/soc/soc:firmware/get_throttled")
    if not text:
        return None
    try:
        return int(text, 16) & 0xF != 0
    except ValueError:
        return None


def peak_rss_mib() -> float:
    """Highest resident memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS (getrusage(2)).
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
