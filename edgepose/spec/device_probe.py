"""What a device says about itself over ssh, before anything is changed there."""

from __future__ import annotations

from typing import Literal

from edgepose.spec.records import Record


class DevicePython(Record, frozen=True, kw_only=True):
    """A Python interpreter.

    Attributes:
        path: Where it is.
        version: Major and minor, such as ``3.11``.
    """

    path: str
    version: str


class DeviceProbe(Record, frozen=True, kw_only=True):
    """The answer of the probe.

    Attributes:
        schema: ``edgepose.probe/1``.
        arch: ``uname -m``.
        os: ``linux``, lower case.
        kernel: ``uname -r``.
        glibc: Version of the C library, or None where it is another one.
        libstdcxx: Whether the C++ library is there, which numpy, OpenCV and the runtimes need.
        pythons: Interpreters, newest first.
        cpu_cores: Cores that the user may use.
        memory_mib: Main memory.
        disk_free_mib: Free space where edgepose would be installed.
        board: What the firmware says the board is, or None.
        cameras: ``/dev/video*``.
        accelerators: ``edgetpu_usb``, ``edgetpu_pci``, ``nvidia``.
        systemd: Whether systemd runs there.
        user: Name of the user.
        base: Folder of edgepose there, absolute.
        root_exists: Whether something was ever installed in it.
        runtimes: Names of the runtimes and of the code there.
    """

    schema: Literal["edgepose.probe/1"]
    arch: str
    os: str
    kernel: str
    glibc: str | None
    libstdcxx: bool
    pythons: tuple[DevicePython, ...]
    cpu_cores: int
    memory_mib: int | None
    disk_free_mib: int | None
    board: str | None
    cameras: tuple[str, ...]
    accelerators: tuple[str, ...]
    systemd: bool
    user: str
    base: str
    root_exists: bool
    runtimes: tuple[str, ...]
