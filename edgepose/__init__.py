"""edgepose: human pose estimation, deployed to edge devices.

Turns a pose model into a verified bundle for one device profile, installs it so that a power cut or
a bad model cannot break the device, and runs it there without any frame leaving the device.

    import edgepose
    model = edgepose.open("pose.tflite", spec="pose.toml")
    poses = model(image_rgb)
    for result in edgepose.run("video.mp4", model): ...

The names in ``__all__`` are the public Python API; every module is private and may change with any release.

Layers, imports only run downward (ARCHITECTURE.md): ``cli``; ``host`` and ``device``; ``runtime``;
``trust``; ``records``; ``pose``; ``sandbox``; ``errors``.
"""

from __future__ import annotations

import os

# Type checkers know the name; `typing` would take most of the import's time.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from edgepose.api.estimation import Model, Result, open, run  # noqa: A004
    from edgepose.api.jobs import deploy, evaluate, quantize
    from edgepose.errors import EdgeposeError
    from edgepose.pose.poses import Poses

# Wheels of ONNX Runtime carry a telemetry client (1DS) that asks the network for its maker's collector.
# Here, because it must stand in the environment before any part, or any child, loads that library.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"

__all__ = [
    "EdgeposeError",
    "Model",
    "Poses",
    "Result",
    "__version__",
    "deploy",
    "evaluate",
    "open",
    "quantize",
    "run",
]

_HOMES = {
    "EdgeposeError": "edgepose.errors",
    "Model": "edgepose.api.estimation",
    "Poses": "edgepose.pose.poses",
    "Result": "edgepose.api.estimation",
    "deploy": "edgepose.api.jobs",
    "evaluate": "edgepose.api.jobs",
    "open": "edgepose.api.estimation",
    "quantize": "edgepose.api.jobs",
    "run": "edgepose.api.estimation",
}


# A type checker is to notice a name that is not there.
if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Imports a public name when it is first used (PEP 562), so that the programs start at once."""
        if name not in _HOMES:
            raise AttributeError(f"module 'edgepose' has no attribute '{name}'")
        import importlib

        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted(__all__)
