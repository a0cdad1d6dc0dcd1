"""What NVIDIA's own libraries say about themselves and the GPU; None where they are not there.

Functions and constants: CUDA Driver API (``cuDriverGetVersion``, ``cuDeviceGetName``,
``cuDeviceGetAttribute`` with ``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`` 75 and ``..._MINOR`` 76) and
TensorRT's ``getInferLibVersion``.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_DRIVER = "libcuda.so.1"
_TENSORRT = tuple(f"libnvinfer.so.{major}" for major in (11, 10, 9, 8))
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_NAME_BYTES = 256


@dataclass(frozen=True)
class GpuIdentity:
    """The first GPU.

    Attributes:
        cuda_version: Version that the driver supports, for example ``12.6``.
        name: Name of the GPU.
        compute_capability: For example ``8.7``.
    """

    cuda_version: str
    name: str
    compute_capability: str


def gpu_identity() -> GpuIdentity | None:
    """Asks the driver about the first GPU; None without a driver or a GPU."""
    driver = _library(_DRIVER)
    if driver is None or driver.cuInit(0) != 0:
        return None
    version, device, name = ctypes.c_int(), ctypes.c_int(), ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    answers = (
        driver.cuDriverGetVersion(ctypes.byref(version)),
        driver.cuDeviceGet(ctypes.byref(device), 0),
        driver.cuDeviceGetName(name, _NAME_BYTES, device),
        driver.cuDeviceGetAttribute(ctypes.byref(major), _CAPABILITY_MAJOR, device),
        driver.cuDeviceGetAttribute(ctypes.byref(minor), _CAPABILITY_MINOR, device),
    )
    if any(answers):
        return None
    # The driver counts 1000 a major and 10 a minor version.
    cuda = f"{version.value // 1000}.{version.value % 1000 // 10}"
    return GpuIdentity(cuda, name.value.decode(errors="replace"), f"{major.value}.{minor.value}")


def tensorrt_version() -> str | None:
    """The number that TensorRT calls its version, as text; None where the library is not there."""
    for name in _TENSORRT:
        library = _library(name)
        if library is not None:
            return str(library.getInferLibVersion())
    return None


def _library(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None
