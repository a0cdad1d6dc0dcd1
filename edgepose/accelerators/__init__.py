"""The accelerators that edgepose knows: a file each, found by lying here (docs/adr/0046-accelerators.md).

A file says in ``ACCELERATORS`` how its hardware is told, which device files, groups and libraries it needs,
how a model is opened on it and how long that may take. What compiles or checks a model for it runs on the
host alone and lies under the same name in ``host/quantize/delegates``. The package is below the records, so
that a profile with an unknown accelerator fails when it is parsed, and it imports no runtime.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from edgepose.sandbox.policy import IoctlKind

# An emulated arm64 device takes about 15 s to import OpenCV and the runtime, and 2 s a frame.
HEALTH_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class DeviceKind:
    """Device files that belong together.

    Attributes:
        name: For people.
        files: Patterns of their paths, as the kernel names what is open.
        ioctls: Their controls.
        allow: The same files as ``DeviceAllow`` of a systemd unit names them: by group of /proc/devices where
            they have one of their own, else by path; a path that is missing is passed over.
        standard_only: Whether they are allowed as standard streams alone.
    """

    name: str
    files: tuple[str, ...]
    ioctls: tuple[IoctlKind, ...] = ()
    allow: tuple[str, ...] = ()
    standard_only: bool = False


def ioctl_letters(letters: str) -> tuple[IoctlKind, ...]:
    """Controls by the letter in their number (ioctl(2), ``_IOC``)."""
    return tuple(IoctlKind(ord(letter)) for letter in letters)


@dataclass(frozen=True)
class Detection:
    """By what a machine shows that the hardware is there; one sign is enough.

    Attributes:
        name: As the probe says it.
        title: For people.
        usb: ``vendor:product`` in lower-case hexadecimal.
        pci: The same, each with ``0x``.
        files: Patterns of device files.
    """

    name: str
    title: str
    usb: tuple[str, ...] = ()
    pci: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class EngineRequest:
    """For what an execution provider is set up.

    Attributes:
        model_sha256: Computes the digest of the ONNX file, with the data beside it.
        precision: Precision of the model's arithmetic; None stands for float32.
        runtime_version: Version of ONNX Runtime.
        cache: Folder in which engines may be kept; None keeps none.
    """

    model_sha256: Callable[[], str]
    precision: str | None
    runtime_version: str
    cache: Path | None


def _no_options(_request: EngineRequest) -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Accelerator:
    """One way to run a model.

    Attributes:
        name: As profiles call it.
        title: For people.
        runtimes: The runtimes that reach it.
        built_in: Whether LiteRT has it inside; any other is a shared library that the profile names.
        provider: ONNX Runtime's execution provider.
        provider_options: That provider's options.
        backend: Where a backend of its own is made, ``module:callable`` of a path and ``RuntimeOptions``;
            empty for what the runtimes above open.
        may_be_fallback: Whether a profile may name it in ``fallback``.
        detections: How its hardware is told; empty for the CPU.
        devices: What a process that uses it has open.
        groups: Groups that own these files.
        libraries: What the system must bring along.
        of_the_board: Whether the runtime comes with the board's system, and no wheel replaces it.
        compiler: The program that makes its files; empty where it takes the model as it is.
        compiled_file: Name of such a file in a bundle.
        compiled_op: The op that such a file consists of.
        takes_detector: Whether a person detector runs on it, too.
        os: An operating system whose apps choose it themselves, so that models are checked for it there.
        health_timeout_s: How long the first opening and the golden frames may take.
    """

    name: str
    title: str
    runtimes: tuple[str, ...]
    built_in: bool = False
    provider: str = ""
    provider_options: Callable[[EngineRequest], dict[str, str]] = _no_options
    backend: str = ""
    may_be_fallback: bool = False
    detections: tuple[Detection, ...] = ()
    devices: tuple[DeviceKind, ...] = ()
    groups: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    of_the_board: bool = False
    compiler: str = ""
    compiled_file: str = ""
    compiled_op: str = ""
    takes_detector: bool = True
    os: str = ""
    health_timeout_s: float = HEALTH_TIMEOUT_S


@cache
def accelerators() -> dict[str, Accelerator]:
    """All of them by name, in the order of their files' names."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    modules = [importlib.import_module(f"{__name__}.{name}") for name in names]
    return {entry.name: entry for module in modules for entry in module.ACCELERATORS}


def accelerator(name: str) -> Accelerator:
    """One of them.

    Raises:
        ValueError: There is none of that name; the message has those that are known.
    """
    known = accelerators()
    if name not in known:
        raise ValueError(
            f"delegate '{name}' is no known accelerator, expected one of {', '.join(sorted(known))}"
        )
    return known[name]


def providers() -> dict[str, str]:
    """ONNX Runtime's execution providers by the names of their accelerators."""
    return {entry.name: entry.provider for entry in accelerators().values() if entry.provider}


def detections() -> tuple[Detection, ...]:
    """All signs of hardware, each once."""
    return tuple(dict.fromkeys(sign for entry in accelerators().values() for sign in entry.detections))


def device_kinds_of(entries: Iterable[Accelerator]) -> tuple[DeviceKind, ...]:
    """The device files of some accelerators, each kind once."""
    return tuple(dict.fromkeys(kind for entry in entries for kind in entry.devices))


def detected(sign: Detection, root: Path = Path("/")) -> bool:
    """Whether this machine shows a sign.

    Args:
        sign: It.
        root: Root of the file system.
    """

    def ids(bus: str, vendor: str, product: str) -> set[str]:
        return {
            f"{_text(path)}:{_text(path.with_name(product))}"
            for path in root.glob(f"sys/bus/{bus}/devices/*/{vendor}")
        }

    return bool(
        (sign.usb and ids("usb", "idVendor", "idProduct").intersection(sign.usb))
        or (sign.pci and ids("pci", "vendor", "device").intersection(sign.pci))
        or any(next(root.glob(pattern.lstrip("/")), None) for pattern in sign.files)
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
