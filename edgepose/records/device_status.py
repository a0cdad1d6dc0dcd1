"""What a device says about itself: the result of a health check, its history, its status.

What happened on a device.

What a device says about itself over ssh, before anything is changed there.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from edgepose.records.accelerator import AcceleratorCompilation, Compilation
from edgepose.records.drift_record import DriftStatus
from edgepose.records.record import Record

VerifiedOn = Literal["device", "host"]
SlotName = Literal["a", "b"]


class BackendReport(Record, frozen=True, kw_only=True):
    """What really ran the model (the fields of :class:`edgepose.runtime.backend.BackendInfo`)."""

    runtime: str
    version: str
    delegate_used: str
    ops_total: int
    ops_on_cpu: int
    threads: int
    fallback_from: str | None = None


class HealthLatency(Record, frozen=True, kw_only=True):
    """Latency of the golden frames after a warm-up, preprocess to decode."""

    p50: float
    p95: float
    samples: int


class HealthReport(Record, frozen=True, kw_only=True):
    """The result of replaying the golden frames through the installed model.

    Attributes:
        passed: Whether the model may be active.
        failures: Why not, in words; empty when passed.
        verified_on: ``host`` when this machine is not the profile's device.
        accelerator: ``verified`` only where the profile's delegate ran on the profile's device.
        frames: Number of golden frames.
        worst_oks: Lowest agreement of a frame with its expected pose.
        worst_detection_iou: The same of the detector, or None without one.
        latency_ms: What a frame took here; says nothing about a device when ``verified_on`` is ``host``.
        peak_rss_mib: Peak memory of the checking process.
        backend: What really ran the pose model, or None where it could not be loaded.
    """

    passed: bool
    failures: tuple[str, ...]
    verified_on: VerifiedOn
    accelerator: Literal["verified", "not_verified"]
    frames: int = 0
    worst_oks: float | None = None
    worst_detection_iou: float | None = None
    latency_ms: HealthLatency | None = None
    peak_rss_mib: float | None = None
    backend: BackendReport | None = None


class HistoryEvent(Record, frozen=True, kw_only=True):
    """Something that happened to the device root.

    Attributes:
        at: ISO 8601, UTC.
        event: ``installed``; ``health_failed`` (returned by itself to the version before);
            ``interrupted`` (cleaned up after a power cut or a kill); ``rolled_back`` (by hand);
            ``rollback_failed`` (the version before is not healthy, nothing changed); ``verified`` (what was
            staged elsewhere passed its health check at the first start on the device).
        bundle_version: The version it happened to.
        active_version: The version that is active since, or None.
        detail: In words.
    """

    at: str
    event: Literal["installed", "health_failed", "interrupted", "rolled_back", "rollback_failed", "verified"]
    bundle_version: int
    active_version: int | None
    detail: str = ""


class SandboxReport(Record, frozen=True, kw_only=True, omit_defaults=True):
    """What keeps the running program from the network.

    Attributes:
        enforced: Whether the kernel enforces it.
        mechanisms: By what.
        not_guaranteed: What does not hold on this kernel, in words.
    """

    enforced: bool
    mechanisms: tuple[str, ...]
    not_guaranteed: tuple[str, ...] = ()


class TrustReport(Record, frozen=True, kw_only=True):
    """Whom a device believes.

    Attributes:
        fingerprint: Fingerprint of the newest root that it verified.
        root_version: Version of that root.
        newest_signed_at: When the newest bundle that it took was signed, or None before the first one.
    """

    fingerprint: str
    root_version: int
    newest_signed_at: str | None


class StatusReport(Record, frozen=True, kw_only=True):
    """``status --json``.

    Attributes:
        schema: ``edgepose.status/1``.
        active_slot: The slot that runs, or None when nothing is installed.
        bundle_version: Version of the active bundle.
        model_sha256: Digest of the active pose model.
        verified_on: Where its health check ran.
        backend: What ran it then.
        sandbox: What keeps it from the network.
        health: The health check that made it active.
        history: What happened, oldest first.
        profile: Id of the profile it is for.
        previous_version: The version that ``rollback`` returns to, or None.
        files_intact: Whether the active slot's files still have their digests.
        signed: Whether the active bundle was signed by the pinned keys.
        edgetpu: ``accelerator`` where that is the Edge TPU: the name that it had before there were others.
        trust: The pinned keys, or None where the device takes unsigned bundles.
        drift: What is known about drift of the active model; None where it never ran as a service.
        writable_by_service: Whether the user who runs the model could also change what is installed, so that
            only its signatures tell; None where nothing is there.
        accelerator: Whether the active model is compiled for it; None where it takes the model as it is.
        runtime_sbom: The bill of materials of the wheels and the code that answer; None where no deployment
            over ssh brought them. The bundle's own bill lies in its slot.
    """

    schema: Literal["edgepose.status/1"] = "edgepose.status/1"
    active_slot: SlotName | None
    bundle_version: int | None
    model_sha256: str | None
    verified_on: VerifiedOn | None
    backend: BackendReport | None
    sandbox: SandboxReport
    health: HealthReport | None
    history: tuple[HistoryEvent, ...]
    profile: str | None = None
    previous_version: int | None = None
    files_intact: bool | None = None
    signed: bool = False
    edgetpu: Compilation | None = None
    trust: TrustReport | None = None
    drift: DriftStatus | None = None
    writable_by_service: bool | None = None
    runtime_sbom: str | None = None
    accelerator: AcceleratorCompilation | None = None


class DeviceLogs(Record, frozen=True, kw_only=True):
    """``logs --json``.

    Attributes:
        schema: ``edgepose.logs/1``.
        root: The device root.
        history: What happened to it, oldest first.
        service: The service's newest lines in systemd's journal, oldest first; None where there is no journal
            that the user may read.
    """

    schema: Literal["edgepose.logs/1"]
    root: str
    history: tuple[HistoryEvent, ...]
    service: tuple[str, ...] | None


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
        accelerators: Names of the signs that it shows, such as ``edgetpu_usb`` or ``nvidia``.
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
