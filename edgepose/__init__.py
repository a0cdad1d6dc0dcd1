"""edgepose: human pose estimation, deployed to edge devices.

Turns a pose model into a verified bundle for one device profile, installs it so that a power cut or
a bad model cannot break the device, and runs it there without any frame leaving the device.

Layers, imports only run downward (ARCHITECTURE.md): ``cli``; ``host`` and ``device``; ``inference``;
``trust``; ``spec``; ``pose``; ``sandbox``; ``errors``.
"""

import os

# Wheels of ONNX Runtime carry a telemetry client (1DS) that asks the network for its maker's collector.
# Here, because it must stand in the environment before any part, or any child, loads that library.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

__version__ = "0.1.0"
