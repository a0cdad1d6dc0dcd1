"""NVIDIA's GPUs through ONNX Runtime's CUDA kernels; what TensorRT shares with it.

Controls: nv-ioctl-numbers.h and uvm_linux_ioctl.h of the driver; nvgpu*.h, nvhost_ioctl.h and nvmap_ioctl.h
of Jetson Linux. Paths of a Jetson: the list of devices that NVIDIA's container runtime passes on (l4t.csv).
Never tried on a Jetson.
"""

from edgepose.accelerators import Accelerator, Detection, DeviceKind, ioctl_letters
from edgepose.sandbox.policy import IoctlKind

_GPU_PARTS = ("as", "ctrl", "dbg", "prof", "prof-ctx", "prof-dev", "sched", "nvsched", "tsg")
_HOST_PATHS = ("ctrl", "gpu", "vic", "nvsched-gpu", *(f"{part}-gpu" for part in _GPU_PARTS))
_CORE_PATHS = ("as", "channel", "ctrl", "ctxsw", "dbg", "nvsched", "power", "prof", "sched", "tsg")
JETSON_DEVICES = DeviceKind(
    "jetson",
    ("/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu/*", "/dev/nvsciipc", "anon_inode:*nv*"),
    ioctl_letters("HNGATDCSE"),
    (
        "/dev/nvmap rw",
        "/dev/nvsciipc rw",
        *(f"/dev/nvhost-{name} rw" for name in _HOST_PATHS),
        *(f"/dev/nvgpu/igpu0/{name} rw" for name in _CORE_PATHS),
    ),
)
NVIDIA_DEVICES = (
    # Its memory manager's numbers have no letter.
    DeviceKind(
        "nvidia", ("/dev/nvidia*",), (*ioctl_letters("Fm"), IoctlKind(0, plain=True)), ("char-nvidia* rw",)
    ),
    JETSON_DEVICES,
)
NVIDIA = Detection("nvidia", "NVIDIA GPU", files=("/dev/nvhost-gpu", "/dev/nvgpu/igpu0/*", "/dev/nvidia0"))

ACCELERATORS = (
    Accelerator(
        "cuda",
        "CUDA",
        ("onnxruntime",),
        provider="CUDAExecutionProvider",
        may_be_fallback=True,
        detections=(NVIDIA,),
        devices=NVIDIA_DEVICES,
        groups=("video", "render"),
        libraries=("libcuda.so.1",),
        of_the_board=True,
    ),
)
