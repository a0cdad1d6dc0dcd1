"""edgepose: human pose estimation, deployed to edge devices.

Turns a pose model into a verified bundle for one device profile, installs it so that a power cut or
a bad model cannot break the device, and runs it there without any frame leaving the device.

Layers, imports only run downward (ARCHITECTURE.md): ``cli``; ``host`` and ``device``; ``inference``;
``trust``; ``spec``; ``pose``; ``sandbox``; ``errors``.
"""

__version__ = "0.1.0"
