"""A phone's GPU, which LiteRT's GPU delegate uses inside an app; nothing of it is opened from Python."""

from edgepose.accelerators import Accelerator

ACCELERATORS = (Accelerator("gpu", "GPU delegate", ("litert",), os="android"),)
