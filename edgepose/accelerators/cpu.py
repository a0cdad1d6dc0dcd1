"""The processor itself: XNNPACK's kernels, and each runtime's plain ones."""

from edgepose.accelerators import Accelerator

ACCELERATORS = (
    Accelerator("xnnpack", "XNNPACK", ("litert",), built_in=True, may_be_fallback=True),
    Accelerator(
        "cpu",
        "CPU",
        ("litert", "onnxruntime"),
        built_in=True,
        provider="CPUExecutionProvider",
        may_be_fallback=True,
    ),
)
