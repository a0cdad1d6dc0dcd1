"""Bundles for an Edge TPU, from quantized model to installation: compiled, not compiled, beyond the limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace as with_fields

from edgepose.device.install.health_process import check_health
from edgepose.device.install.installed import installed_model, read_status
from edgepose.device.install.installer import Hooks, install_bundle
from edgepose.device.run.estimator_choice import EstimatorChoice, open_estimator
from edgepose.errors import DeviceError, TrustError
from edgepose.host.bundle.builder import BundleRequest, build_bundle
from edgepose.records.bundle_manifest import BundleManifest
from edgepose.records.device_profile import DeviceProfile, find_profile
from edgepose.records.record import from_builtins, to_builtins
from edgepose.trust.bundle_reader import verify_bundle
from tests.support.archives import manifest_of, read_members, with_manifest, write_members
from tests.support.bundle_fixtures import bundle_folder
from tests.support.coral_models import coral_model
from tests.support.fake_edgetpu_compiler import VERSION, install_fake_compiler
from tests.support.machine_profiles import profile_of_this_machine
from tests.support.signed_bundles import Signer, judged

__all__ = ["bundle_folder", "coral_model"]

ON_DEVICE = Hooks(is_device=lambda _hardware: True)


def bundle(
    model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, *, on_cpu: int | None, profile: DeviceProfile
) -> Path:
    """Builds a bundle with a fake compiler that leaves so many ops to the CPU, or without a compiler."""
    path = folder / "bin"
    path.mkdir()
    if on_cpu is not None:
        install_fake_compiler(path, ops_on_cpu=on_cpu)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(path))
        return build_bundle(BundleRequest(model, profile, folder / "pose.epb"))


@pytest.fixture(name="uncompiled")
def _uncompiled(coral_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return bundle(coral_model, tmp_path, monkeypatch, on_cpu=None, profile=find_profile("coral"))


def profile_allowing(ops_on_cpu: int) -> DeviceProfile:
    profile = find_profile("coral")
    return with_fields(profile, runtime=with_fields(profile.runtime, max_ops_on_cpu=ops_on_cpu))


def test_without_a_compiler_the_bundle_is_marked_and_serves_a_preview(
    uncompiled: Path, tmp_path: Path
) -> None:
    manifest = verify_bundle(uncompiled)
    assert manifest.accelerator is not None
    assert (manifest.accelerator.status, manifest.accelerator.file) == ("not compiled", None)
    assert manifest.model_file(on_device=True) == manifest.model.file
    said: list[str] = []
    report = install_bundle(uncompiled, tmp_path / "root", report=said.append)
    assert (report.health.verified_on, report.health.accelerator) == ("host", "not_verified")
    assert any("not compiled" in line for line in said)
    status = read_status(tmp_path / "root")
    assert status.edgetpu is not None
    assert status.edgetpu.status == "not compiled"


def test_what_is_not_compiled_is_refused_on_the_device_and_nothing_changes(
    uncompiled: Path, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with pytest.raises(DeviceError, match="not compiled for the Edge TPU"):
        install_bundle(uncompiled, root, hooks=ON_DEVICE)
    assert not root.exists()


def test_a_staged_preview_fails_closed_when_the_device_checks_and_runs_it(
    uncompiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    install_bundle(uncompiled, root)
    installed = installed_model(root)
    health = check_health(installed.folder, installed.manifest, on_device=True)
    assert not health.passed
    assert "not compiled" in health.failures[0]
    monkeypatch.setattr("edgepose.device.run.estimator_choice.this_is_the_device", lambda _hardware: True)
    with pytest.raises(DeviceError, match="not compiled"):
        open_estimator(EstimatorChoice(root=root))


def test_a_compiled_model_ships_beside_the_one_for_previews(
    coral_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(coral_model, tmp_path, monkeypatch, on_cpu=0, profile=find_profile("coral"))
    manifest = verify_bundle(made)
    assert manifest.accelerator is not None
    assert (manifest.accelerator.status, manifest.accelerator.compiler_version) == ("compiled", VERSION)
    assert manifest.accelerator.ops_on_cpu == 0
    assert manifest.model_file(on_device=True) == manifest.accelerator.file == "model_edgetpu.tflite"
    assert manifest.model_file(on_device=False) == "model.tflite"
    # The preview replays the CPU file; on the device the compiled one is opened, here without an Edge TPU.
    assert install_bundle(made, tmp_path / "root").health.passed
    installed = installed_model(tmp_path / "root")
    health = check_health(installed.folder, installed.manifest, on_device=True)
    assert not health.passed
    assert "libedgetpu" in health.failures[0]


@pytest.mark.parametrize("hooks", [Hooks(), ON_DEVICE], ids=["as a preview", "on the device"])
def test_a_bundle_that_leaves_more_to_the_cpu_than_allowed_is_refused_at_install(
    coral_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hooks: Hooks
) -> None:
    made = bundle(coral_model, tmp_path, monkeypatch, on_cpu=1, profile=profile_allowing(0))
    with pytest.raises(DeviceError, match=r"1 of \d+ ops would run on the CPU .* allows 0"):
        install_bundle(made, tmp_path / "root", hooks=hooks)
    assert not (tmp_path / "root").exists()


def test_as_many_ops_on_the_cpu_as_the_profile_allows_are_installed(
    coral_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bundle(coral_model, tmp_path, monkeypatch, on_cpu=1, profile=profile_allowing(1))
    assert install_bundle(made, tmp_path / "root").health.passed


def test_a_manifest_that_contradicts_itself_about_the_edge_tpu_is_refused(uncompiled: Path) -> None:
    plain = to_builtins(verify_bundle(uncompiled))
    assert from_builtins(plain, BundleManifest, "manifest").accelerator is not None
    for wrong in (
        {**plain["accelerator"], "status": "compiled"},
        {
            **plain["accelerator"],
            "status": "compiled",
            "file": "other.tflite",
            "compiler_version": "16",
            "ops_on_cpu": 0,
        },
        {
            **plain["accelerator"],
            "status": "compiled",
            "file": "model.tflite",
            "compiler_version": "16",
            "ops_on_cpu": 0,
        },
    ):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({**plain, "accelerator": wrong}, BundleManifest)


def as_before(bundle: Path, target: Path) -> Path:
    """The bundle as it was written while the Edge TPU had a key of its own."""
    members = read_members(bundle)
    manifest = manifest_of(members)
    record = manifest.pop("accelerator", None)
    manifest["edgetpu"] = {key: value for key, value in record.items() if key != "name"} if record else None
    text = json.dumps(manifest, indent=1).encode() + b"\n"
    return write_members(target, with_manifest(members, text))


def test_an_old_bundle_verifies_installs_and_is_signed_again_byte_for_byte(
    uncompiled: Path, bundle_folder: Path, tmp_path: Path
) -> None:
    signer = Signer.make(tmp_path / "keys")
    for number, (new, says) in enumerate(((uncompiled, True), (bundle_folder / "version1.epb", False))):
        old = as_before(new, tmp_path / f"{number}.epb")
        assert b'"edgetpu"' in old.read_bytes()
        assert verify_bundle(old) == verify_bundle(new)
        signed = signer.sign(old, tmp_path / f"signed{number}.epb")
        assert signed.read_bytes().endswith(old.read_bytes())
        manifest = judged(signed, signer.anchor()).manifest
        assert (manifest.accelerator is not None) == says
        root = tmp_path / f"root{number}"
        assert install_bundle(old, root).health.passed
        assert (read_status(root).edgetpu is not None) == says


def test_a_bundle_that_needs_no_compiled_file_is_readable_by_older_devices(bundle_folder: Path) -> None:
    manifest = manifest_of(read_members(bundle_folder / "version1.epb"))
    assert "accelerator" not in manifest


def test_both_the_old_key_and_the_new_one_are_refused(uncompiled: Path, tmp_path: Path) -> None:
    members = read_members(uncompiled)
    manifest = manifest_of(members)
    manifest["edgetpu"] = None
    with pytest.raises(TrustError, match="both accelerator and edgetpu"):
        verify_bundle(
            write_members(tmp_path / "x.epb", with_manifest(members, json.dumps(manifest).encode()))
        )


def test_the_programs_say_not_compiled_and_end_with_exit_code_9_on_the_device(
    coral_model: Path, tmp_path: Path
) -> None:
    path = profile_of_this_machine("coral-usb-pi4", tmp_path)
    preview, here = tmp_path / "preview.epb", tmp_path / "here.epb"
    for name, output in (("coral", preview), (path, here)):
        made = _edgepose("bundle", coral_model, "--profile", name, "-o", output)
        assert made.returncode == 0, made.stderr
        assert "not compiled" in made.stdout
    assert "not compiled" in _edgepose("verify", preview).stdout
    picture = next((coral_model.parent / "set" / "images").iterdir())
    assert _edgepose("run", picture, "--bundle", preview).returncode == 0
    refused = _edgepose("run", picture, "--bundle", here)
    assert refused.returncode == 9
    assert "not compiled for the Edge TPU" in refused.stderr


@pytest.mark.slow
def test_deploy_to_coral_without_the_compiler_says_not_compiled(
    marker_onnx_with_spec: Path, marker_set: Path, tmp_path: Path
) -> None:
    words = ["--profile", "coral", "--model", marker_onnx_with_spec, "--calibration", marker_set]
    done = _edgepose("deploy", *words, "--root", tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert "Edge TPU: not compiled." in done.stdout
    assert "not compiled" in _edgepose("status", "--root", tmp_path / "root").stdout


def _edgepose(*arguments: object) -> subprocess.CompletedProcess[str]:
    call = [sys.executable, "-m", "edgepose", *map(str, arguments)]
    return subprocess.run(
        call, capture_output=True, text=True, check=False, env={**os.environ, "PATH": "/nowhere"}
    )
