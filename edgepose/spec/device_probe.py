"""What a device says about itself over ssh, before anything is changed there."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgepose.spec.records import Record

# Printable and short: what a device says of itself goes into messages, paths and package tags.
_Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]{1,32}\Z")]
_Text = Annotated[str, Meta(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,256}\Z")]
_Path = Annotated[str, Meta(pattern=r"^/[^\x00-\x1f\x7f-\x9f]{0,1024}\Z")]
_Name = Annotated[str, Meta(pattern=r"^[^/\x00-\x1f\x7f-\x9f]{1,255}\Z")]
# As its ldd prints it; a development version has a third number.
_Glibc = Annotated[str, Meta(pattern=r"^[0-9]{1,2}\.[0-9]{1,3}(\.[0-9]{1,4})?\Z")]
_Python = Annotated[str, Meta(pattern=r"^3\.[0-9]{1,2}\Z")]
# A petabyte of disk, in MiB.
_Mib = Annotated[int, Meta(ge=0, le=1 << 30)]


class DevicePython(Record, frozen=True, kw_only=True):
    """A Python interpreter.

    Attributes:
        path: Where it is.
        version: Major and minor, such as ``3.11``.
    """

    path: _Path
    version: _Python


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
    arch: _Word
    os: _Word
    kernel: _Text
    glibc: _Glibc | None
    libstdcxx: bool
    pythons: Annotated[tuple[DevicePython, ...], Meta(max_length=64)]
    cpu_cores: Annotated[int, Meta(ge=1, le=4096)]
    memory_mib: _Mib | None
    disk_free_mib: _Mib | None
    board: _Text | None
    cameras: Annotated[tuple[_Path, ...], Meta(max_length=256)]
    accelerators: Annotated[tuple[_Word, ...], Meta(max_length=32)]
    systemd: bool
    user: _Name
    base: _Path
    root_exists: bool
    runtimes: Annotated[tuple[_Name, ...], Meta(max_length=4096)]
