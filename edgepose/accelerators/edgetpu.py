"""Coral's Edge TPU, by USB or PCIe: it runs what ``edgetpu_compiler`` made, and nothing else.

Ids and groups: coral.ai/docs/accelerator, the apex driver's table, and the udev rules of ``libedgetpu1-std``
and ``gasket-dkms``. Controls: usbdevice_fs.h of Linux and gasket_ioctl.h of the driver. Never tried on one.
"""

from edgepose.accelerators import Accelerator, Detection, DeviceKind, ioctl_letters
from edgepose.sandbox.policy import IoctlKind

_TITLE = "Edge TPU"
ACCELERATORS = (
    Accelerator(
        "edgetpu",
        _TITLE,
        ("litert",),
        detections=(
            # Before and after its firmware is loaded.
            Detection("edgetpu_usb", _TITLE, usb=("1a6e:089a", "18d1:9302")),
            Detection("edgetpu_pci", _TITLE, pci=("0x1ac1:0x089a",), files=("/dev/apex_*",)),
        ),
        devices=(
            DeviceKind(
                "edgetpu_pci", ("/dev/apex_*",), (IoctlKind(0xDC),), ("/dev/apex_0 rw", "char-apex rw")
            ),
            DeviceKind("edgetpu_usb", ("/dev/bus/usb/*",), ioctl_letters("U"), ("char-usb_device rw",)),
        ),
        groups=("apex", "plugdev"),
        libraries=("libedgetpu.so.1",),
        compiler="edgetpu_compiler",
        compiled_file="model_edgetpu.tflite",
        compiled_op="edgetpu-custom-op",
        takes_detector=False,
    ),
)
