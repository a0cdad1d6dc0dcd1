"""The health check as a process of its own: ``python -m edgepose.device.install.health_process``.

A model that crashes its runtime takes this process down and not the installer, and the runtime starts
as fresh as it will after a restart of the device.

The health check: golden frames through the installed model, judged by what the profile asks.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgepose.device.install.health import check_accelerator
from edgepose.device.install.slot_files import read_slot_manifest
from edgepose.errors import DeviceError, EdgeposeError
from edgepose.pose.boxes import iou_matrix
from edgepose.records.bundle_manifest import BundleManifest
from edgepose.records.device_status import BackendReport, HealthLatency, HealthReport
from edgepose.records.record import to_json
from edgepose.runtime.backend import BackendInfo
from edgepose.runtime.bundle_model import GOLDEN_SCORE_THRESHOLD, estimate_in_box, golden_oks
from edgepose.runtime.image_file import read_image_rgb
from edgepose.runtime.machine import peak_rss_mib, this_is_the_device
from edgepose.runtime.open_model import RuntimeOptions, open_backend
from edgepose.runtime.pipeline import PersonDetector, PosePipeline
from edgepose.runtime.preprocess import Image
from edgepose.trust.digests import sha256_of_bytes

_LATENCY_SAMPLES = 20
# An emulated device takes two seconds a frame; the check must end all the same.
_LATENCY_LIMIT_S = 20.0


@dataclass(frozen=True)
class Measurement:
    """What the replay found.

    Attributes:
        oks: Golden image to OKS with the expected pose.
        detection_iou: Golden image to IoU with the expected box; empty without a detector.
        latency: Per frame, pose model only, after a warm-up.
        peak_rss_mib: Peak resident memory of this process.
        backend: What really ran the pose model.
    """

    oks: dict[str, float]
    detection_iou: dict[str, float]
    latency: HealthLatency
    peak_rss_mib: float
    backend: BackendInfo


def check_health(
    folder: Path, manifest: BundleManifest, *, on_device: bool, engine_cache: Path | None = None
) -> HealthReport:
    """Replays the golden frames of an unpacked bundle and judges the result.

    Every expected error on the way is a failed check, not an exception.

    Args:
        folder: The unpacked bundle.
        manifest: Its manifest.
        on_device: Whether this machine is the profile's device. Elsewhere the CPU path is used, and what
            only the device can tell is not judged.
        engine_cache: Where TensorRT keeps its engines on the device; None keeps none.
    """
    try:
        check_accelerator(manifest, on_device=on_device)
        measured = measure(folder, manifest, on_device=on_device, engine_cache=engine_cache)
    except EdgeposeError as problem:
        return HealthReport(
            passed=False,
            failures=(problem.message,),
            verified_on="device" if on_device else "host",
            accelerator="not_verified",
        )
    return health_report(manifest, measured, on_device=on_device)


def measure(
    folder: Path, manifest: BundleManifest, *, on_device: bool, engine_cache: Path | None = None
) -> Measurement:
    """Runs the installed model, exactly as the device will.

    Raises:
        EdgeposeError: An image or a model cannot be opened or run.
    """
    runtime = manifest.profile.runtime
    options = RuntimeOptions(threads=runtime.threads)
    detector_options = options
    if on_device:
        options = RuntimeOptions.for_device(runtime, manifest.model.precision, engine_cache)
        detector = manifest.detector
        precision = detector.precision if detector else None
        detector_options = RuntimeOptions.for_detector(runtime, precision, engine_cache)
    backend = open_backend(folder / manifest.model_file(on_device=on_device), options)
    pipeline = PosePipeline(backend, manifest.model.spec, GOLDEN_SCORE_THRESHOLD)
    images = {frame.file: read_image_rgb(folder / frame.file) for frame in manifest.golden.frames}
    oks = {
        frame.file: _frame_oks(pipeline, images[frame.file], manifest, index)
        for index, frame in enumerate(manifest.golden.frames)
    }
    return Measurement(
        oks=oks,
        detection_iou=_detection_ious(folder, manifest, detector_options),
        latency=_latency(pipeline, images, manifest),
        peak_rss_mib=peak_rss_mib(),
        backend=backend.info,
    )


def health_report(manifest: BundleManifest, measured: Measurement, *, on_device: bool) -> HealthReport:
    """Decides whether the model may be active; pure."""
    failures = _frame_failures(manifest, measured)
    wanted, info = manifest.profile.runtime.delegate, measured.backend
    if _version(info.version) < _version(manifest.min_runtime_version):
        failures.append(
            f"{info.runtime} {info.version} is older than the {manifest.min_runtime_version} needed"
        )
    if on_device:
        failures += _device_failures(manifest, measured)
    used = info.delegate_used == wanted
    return HealthReport(
        passed=not failures,
        failures=tuple(failures),
        verified_on="device" if on_device else "host",
        accelerator="verified" if on_device and used else "not_verified",
        frames=len(measured.oks),
        worst_oks=round(min(measured.oks.values()), 4),
        worst_detection_iou=round(min(measured.detection_iou.values()), 4)
        if measured.detection_iou
        else None,
        latency_ms=measured.latency,
        peak_rss_mib=round(measured.peak_rss_mib, 1),
        backend=BackendReport(
            runtime=info.runtime,
            version=info.version,
            delegate_used=info.delegate_used,
            ops_total=info.ops_total,
            ops_on_cpu=info.ops_on_cpu,
            threads=info.threads,
            fallback_from=info.fallback_from,
        ),
    )


def _frame_failures(manifest: BundleManifest, measured: Measurement) -> list[str]:
    golden = manifest.golden
    missing = [frame.file for frame in golden.frames if frame.file not in measured.oks]
    failures = [f"{file} was not replayed" for file in missing]
    failures += [
        f"{file}: OKS {value:.3f} with the expected pose, expected at least {golden.tolerance_oks:.3f}"
        for file, value in measured.oks.items()
        if not value >= golden.tolerance_oks
    ]
    failures += [
        f"{file}: the detector's box has IoU {value:.3f} with the expected one, expected at least "
        f"{golden.tolerance_iou:.3f}"
        for file, value in measured.detection_iou.items()
        if not value >= golden.tolerance_iou
    ]
    if manifest.detector is not None and len(measured.detection_iou) != len(golden.detections):
        failures.append("the detector was not checked")
    return failures


def _device_failures(manifest: BundleManifest, measured: Measurement) -> list[str]:
    """What only the profile's own device can tell."""
    runtime, budgets, info = manifest.profile.runtime, manifest.profile.budgets, measured.backend
    failures = []
    # The plain CPU path reports no delegate.
    used = "cpu" if info.delegate_used == "none" else info.delegate_used
    allowed = {runtime.delegate, *runtime.fallback}
    if used not in allowed and (runtime.delegate_required or runtime.fallback):
        failures.append(f"the model ran on '{used}', expected {' or '.join(sorted(allowed))}")
    limit = runtime.max_ops_on_cpu
    if limit is not None and info.ops_on_cpu > limit:
        failures.append(f"{info.ops_on_cpu} of {info.ops_total} ops ran on the CPU, expected at most {limit}")
    if measured.latency.p95 > budgets.latency_p95_ms:
        failures.append(
            f"a frame takes {measured.latency.p95:.1f} ms (p95), "
            f"the budget is {budgets.latency_p95_ms:.1f} ms"
        )
    if measured.peak_rss_mib > budgets.peak_memory_mib:
        failures.append(
            f"it takes {measured.peak_rss_mib:.0f} MiB of memory, "
            f"the budget is {budgets.peak_memory_mib:.0f} MiB"
        )
    return failures


def _frame_oks(pipeline: PosePipeline, image: Image, manifest: BundleManifest, index: int) -> float:
    frame = manifest.golden.frames[index]
    # An image that this machine decodes differently would judge the decoder, not the model.
    if sha256_of_bytes(image.tobytes()) != frame.image_sha256:
        raise DeviceError(f"{frame.file} decodes to other pixels than it was made of")
    return golden_oks(pipeline, image, frame)


def _detection_ious(folder: Path, manifest: BundleManifest, options: RuntimeOptions) -> dict[str, float]:
    if manifest.detector is None:
        return {}
    backend = open_backend(folder / manifest.detector.file, options)
    detector = PersonDetector(backend, manifest.detector.spec, GOLDEN_SCORE_THRESHOLD)
    found = {}
    for expected in manifest.golden.detections:
        boxes, _ = detector.detect(read_image_rgb(folder / expected.file))
        ious = iou_matrix(boxes, [expected.box_xyxy_px])
        found[expected.file] = float(ious.max(initial=0.0))
    return found


def _latency(pipeline: PosePipeline, images: dict[str, Image], manifest: BundleManifest) -> HealthLatency:
    frames = manifest.golden.frames
    samples_ms: list[float] = []
    begin_ns = time.monotonic_ns()
    while len(samples_ms) < _LATENCY_SAMPLES:
        frame = frames[len(samples_ms) % len(frames)]
        start_ns = time.monotonic_ns()
        estimate_in_box(pipeline, images[frame.file], frame.box_xyxy_px)
        end_ns = time.monotonic_ns()
        samples_ms.append((end_ns - start_ns) / 1e6)
        if (end_ns - begin_ns) / 1e9 > _LATENCY_LIMIT_S:
            break
    p50, p95 = (round(float(value), 3) for value in np.percentile(samples_ms, (50, 95)))
    return HealthLatency(p50=p50, p95=p95, samples=len(samples_ms))


def _version(text: str) -> tuple[int, ...]:
    """The leading numbers of a version: 2.1.0rc1 gives (2, 1, 0)."""
    numbers = []
    for part in text.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        if not digits:
            break
        numbers.append(int(digits))
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def main() -> None:
    """Checks one unpacked bundle and writes the report to a file descriptor.

    The report does not go to standard output, where native libraries write as they like.
    """
    parser = argparse.ArgumentParser(prog="edgepose.device.install.health_process")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--manifest-sha256", required=True)
    parser.add_argument("--engine-cache", type=Path)
    parser.add_argument("--report-fd", type=int, required=True)
    arguments = parser.parse_args()
    manifest = read_slot_manifest(arguments.folder, arguments.manifest_sha256)
    on_device = this_is_the_device(manifest.profile.hardware)
    cache = arguments.engine_cache
    report = check_health(arguments.folder, manifest, on_device=on_device, engine_cache=cache)
    with os.fdopen(arguments.report_fd, "w", encoding="utf-8") as stream:
        stream.write(to_json(report))


if __name__ == "__main__":
    main()
