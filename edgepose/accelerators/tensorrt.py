"""TensorRT through ONNX Runtime: its options, and engines kept each for what it was built for.

What an engine depends on is asked of the CUDA Driver API (``cuDriverGetVersion``, ``cuDeviceGetName``,
``cuDeviceGetAttribute`` with ``CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR`` 75 and ``..._MINOR`` 76) and of
TensorRT's ``getInferLibVersion``; None where they are not there.
"""

from __future__ import annotations

import ctypes
import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

from edgepose.accelerators import Accelerator, EngineRequest
from edgepose.accelerators.cuda import NVIDIA, NVIDIA_DEVICES

# An engine is built when a model is first loaded on a device, which takes minutes.
ENGINE_BUILD_TIMEOUT_S = 900.0
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


_KEY_LENGTH = 32


@dataclass(frozen=True)
class EngineIdentity:
    """All that an engine depends on.

    Attributes:
        model_sha256: Digest of the ONNX file.
        precision: What the engine computes in.
        onnxruntime_version: It cuts the graph into the parts that become engines.
        tensorrt_version: As TensorRT says itself, or None where it cannot be asked.
        cuda_version: As the driver says, or None.
        gpu_name: As the driver says, or None.
        compute_capability: Of the GPU, for example ``8.7``, or None.
    """

    model_sha256: str
    precision: str
    onnxruntime_version: str
    tensorrt_version: str | None
    cuda_version: str | None
    gpu_name: str | None
    compute_capability: str | None

    @property
    def unknown(self) -> tuple[str, ...]:
        """Names of the parts that could not be learned; with any of them no engine may be kept."""
        return tuple(name for name, value in asdict(self).items() if not value)


def engine_cache_key(identity: EngineIdentity) -> str:
    """Name of the folder that only engines of this identity share: any other part gives another name.

    Raises:
        ValueError: A part is unknown, so that a stale engine could not be told from a fresh one.
    """
    if identity.unknown:
        raise ValueError(f"unknown: {', '.join(identity.unknown)}")
    # Each part with its name and length, so that no two identities read alike.
    text = "".join(f"{name}:{len(str(value))}:{value}\n" for name, value in asdict(identity).items())
    return hashlib.sha256(text.encode()).hexdigest()[:_KEY_LENGTH]


def engine_folder(identity: EngineIdentity, cache: Path | None) -> Path | None:
    """The folder of this identity's engines, or None where none may be kept."""
    if cache is None or identity.unknown:
        return None
    return cache / engine_cache_key(identity)


def tensorrt_options(precision: str | None, folder: Path | None) -> dict[str, str]:
    """Options of ONNX Runtime's TensorRT execution provider (its documentation, "Configurations").

    An int8 model carries its own Q/DQ scales, so no calibration table is named; what it leaves in float
    stays float32, as it was judged.

    Args:
        precision: Precision of the model's arithmetic; None stands for float32.
        folder: Where engines and timings are kept; None keeps none.
    """
    options = {
        "trt_int8_enable": str(precision == "int8"),
        "trt_fp16_enable": str(precision == "float16"),
        "trt_engine_cache_enable": str(folder is not None),
        "trt_timing_cache_enable": str(folder is not None),
    }
    if folder is not None:
        options["trt_engine_cache_path"] = str(folder)
        options["trt_timing_cache_path"] = str(folder)
    return options


def _provider_options(request: EngineRequest) -> dict[str, str]:
    gpu = gpu_identity()
    identity = EngineIdentity(
        model_sha256=request.model_sha256(),
        precision=request.precision or "float32",
        onnxruntime_version=request.runtime_version,
        tensorrt_version=tensorrt_version(),
        cuda_version=gpu.cuda_version if gpu else None,
        gpu_name=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
    )
    folder = engine_folder(identity, request.cache)
    if folder is not None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return tensorrt_options(request.precision, folder)


ACCELERATORS = (
    Accelerator(
        "tensorrt",
        "TensorRT",
        ("onnxruntime",),
        provider="TensorrtExecutionProvider",
        provider_options=_provider_options,
        detections=(NVIDIA,),
        devices=NVIDIA_DEVICES,
        groups=("video", "render"),
        libraries=("libnvinfer.so", "libcuda.so.1"),
        of_the_board=True,
        health_timeout_s=ENGINE_BUILD_TIMEOUT_S,
    ),
)
