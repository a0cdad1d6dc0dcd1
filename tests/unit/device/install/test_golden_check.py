"""The judgement of a health check, with figures made up and measured."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec.structs import replace as with_fields

from edgepose.device.install.health import report_of, run_health_check
from edgepose.device.install.health_process import Measurement, check_health, health_report
from edgepose.device.install.slot_files import unpack
from edgepose.device.install.state_file import no_fault, remove_tree
from edgepose.records.bundle_manifest import BundleManifest
from edgepose.records.device_status import HealthLatency
from edgepose.runtime.backend import BackendInfo
from edgepose.trust.bundle_reader import verify_bundle
from edgepose.trust.digests import sha256_of_file
from tests.support.bundle_fixtures import bundle_folder

__all__ = ["bundle_folder"]

GOOD = Measurement(
    oks={f"golden/{index}.png": 0.95 for index in range(4)},
    detection_iou={},
    latency=HealthLatency(p50=10.0, p95=12.0, samples=20),
    peak_rss_mib=100.0,
    backend=BackendInfo("onnxruntime", "1.32.0", "cpu", 10, 10, 1),
)


@pytest.fixture(name="manifest")
def _manifest(bundle_folder: Path) -> BundleManifest:
    return verify_bundle(bundle_folder / "version1.epb")


@pytest.fixture(name="slot")
def _slot(bundle_folder: Path, tmp_path: Path) -> Path:
    unpack(bundle_folder / "version1.epb", tmp_path / "slot", no_fault)
    return tmp_path / "slot"


def on(manifest: BundleManifest, **runtime: object) -> BundleManifest:
    """The manifest with other runtime settings in its profile."""
    profile = manifest.profile
    changed = with_fields(profile.runtime, **runtime)
    return with_fields(manifest, profile=with_fields(profile, runtime=changed))


def test_good_frames_pass_on_the_host_without_verifying_the_accelerator(manifest: BundleManifest) -> None:
    report = health_report(manifest, GOOD, on_device=False)
    assert report.passed
    assert (report.verified_on, report.accelerator) == ("host", "not_verified")


def test_good_frames_pass_on_the_device(manifest: BundleManifest) -> None:
    report = health_report(manifest, GOOD, on_device=True)
    assert report.passed
    assert (report.verified_on, report.accelerator) == ("device", "verified")


@pytest.mark.parametrize("value", [0.849, 0.0, float("nan")])
def test_one_frame_below_the_tolerance_fails(manifest: BundleManifest, value: float) -> None:
    report = health_report(manifest, replace(GOOD, oks={**GOOD.oks, "golden/2.png": value}), on_device=False)
    assert not report.passed
    assert "golden/2.png" in report.failures[0]


def test_a_frame_that_was_not_replayed_fails(manifest: BundleManifest) -> None:
    report = health_report(manifest, replace(GOOD, oks={"golden/0.png": 1.0}), on_device=False)
    assert not report.passed


@pytest.mark.parametrize(
    ("version", "passed"), [("1.18", True), ("1.18.0", True), ("2.0rc1", True), ("1.9.9", False), ("", False)]
)
def test_a_runtime_older_than_needed_fails(manifest: BundleManifest, version: str, passed: bool) -> None:
    measured = replace(GOOD, backend=replace(GOOD.backend, version=version))
    assert health_report(manifest, measured, on_device=False).passed is passed


def test_on_the_device_another_delegate_than_required_fails_and_on_the_host_it_does_not(
    manifest: BundleManifest,
) -> None:
    wanted = on(manifest, delegate="tensorrt")
    assert health_report(wanted, GOOD, on_device=False).passed
    report = health_report(wanted, GOOD, on_device=True)
    assert not report.passed
    assert "expected tensorrt" in report.failures[0]
    assert report.accelerator == "not_verified"


def test_on_the_device_an_allowed_fallback_passes_and_is_not_called_verified(
    manifest: BundleManifest,
) -> None:
    report = health_report(on(manifest, delegate="tensorrt", fallback=("cpu",)), GOOD, on_device=True)
    assert report.passed
    assert report.accelerator == "not_verified"


def test_on_the_device_too_many_ops_on_the_cpu_fail(manifest: BundleManifest) -> None:
    assert health_report(on(manifest, max_ops_on_cpu=10), GOOD, on_device=True).passed
    assert not health_report(on(manifest, max_ops_on_cpu=9), GOOD, on_device=True).passed
    assert health_report(on(manifest, max_ops_on_cpu=9), GOOD, on_device=False).passed


def test_budgets_of_time_and_memory_are_judged_on_the_device_only(manifest: BundleManifest) -> None:
    slow = replace(GOOD, latency=HealthLatency(p50=10.0, p95=1001.0, samples=20))
    large = replace(GOOD, peak_rss_mib=2001.0)
    for measured, word in ((slow, "ms"), (large, "MiB")):
        assert health_report(manifest, measured, on_device=False).passed
        report = health_report(manifest, measured, on_device=True)
        assert not report.passed
        assert word in report.failures[0]


def test_a_real_model_passes_in_a_fresh_process(slot: Path) -> None:
    report = run_health_check(slot, sha256_of_file(slot / "manifest.json"))
    assert report.failures == ()
    assert report.latency_ms is not None
    assert report.latency_ms.samples == 20


def test_a_missing_model_is_a_failed_check_and_no_exception(slot: Path, manifest: BundleManifest) -> None:
    remove_tree(slot / "model.onnx")
    report = check_health(slot, manifest, on_device=False)
    assert not report.passed
    assert "model.onnx" in report.failures[0]


def test_another_manifest_than_the_installed_one_is_a_failed_check(slot: Path) -> None:
    report = run_health_check(slot, "0" * 64)
    assert not report.passed
    assert "manifest has changed" in report.failures[0]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "signal 6"),
        ("import sys; sys.exit('no runtime')", "ended with code 1: no runtime"),
        ("pass", "not valid JSON"),
        ("import os, sys; os.write(int(sys.argv[2]), b'{\"passed\": true}')", "missing required field"),
        ("import time; time.sleep(60)", "did not end within 1 s"),
    ],
)
def test_a_process_that_crashes_hangs_or_reports_nothing_is_a_failed_check(code: str, said: str) -> None:
    report = report_of([sys.executable, "-c", code], timeout_s=1.0 if "sleep" in code else 30.0)
    assert not report.passed
    assert said in report.failures[0]
